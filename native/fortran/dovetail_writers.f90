!> The producing end of a stream.
!>
!>   open - begin - put, empty ... - end | abandon - begin ... - close
module dovetail_writers
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  use dovetail_streams_c
  use dovetail_opening
  implicit none
  private

  public :: dvt_writer, dvt_lease

  !> What the producer does when its readers are slower than itself.
  integer, parameter, public :: dvt_lockstep = 0    !< waits until all have ended the step too
  integer, parameter, public :: dvt_buffered = 1    !< holds up to `window` steps, then waits
  integer, parameter, public :: dvt_latest = 2      !< drops the oldest undelivered step
  integer, parameter, public :: dvt_work_queue = 3  !< deals each step to one group of readers

  !> Keeps the memory of an array that `empty` gave readable after its step, until it is closed.
  type :: dvt_lease
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: close => lease_close
  end type dvt_lease

  !> A writer that is not closed when its program ends is seen by readers as one that died.
  type :: dvt_writer
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: open => writer_open
    procedure :: begin => writer_begin
    procedure :: put => writer_put
    !> call out%empty(name, pointer, extents [, shape, start, dtype, lease]): room inside the step,
    !> to be filled in place; `dtype` is what the bits of integers are. Good until the step ends, or
    !> for reading only until `lease` is closed.
    generic :: empty => empty_int8, empty_int16, empty_int32, empty_int64, &
      empty_real32, empty_real64, empty_complex32, empty_complex64, empty_bool
    procedure :: end => writer_end
    procedure :: abandon => writer_abandon
    procedure :: stopped => writer_stopped
    procedure :: close => writer_close
    procedure :: statistics => writer_statistics
    procedure :: info => writer_info
    procedure, private :: empty_int8, empty_int16, empty_int32, empty_int64, &
      empty_real32, empty_real64, empty_complex32, empty_complex64, empty_bool
  end type dvt_writer

contains

  !> Opens the producing end, after closing what was open; rank 0's policy counts. `comm` is an MPI
  !> communicator, of `use mpi` or of `use mpi_f08`; without one, `rank` (from 0) and `size` say who
  !> takes part. `timeout`, in seconds, is the deadline of every wait for the other side. With
  !> `readers` this waits until so many groups of readers have joined.
  subroutine writer_open(self, url, policy, window, comm, rank, size, timeout, readers, stat, &
    errmsg)
    class(dvt_writer), intent(inout) :: self
    character(*), intent(in) :: url
    integer, intent(in), optional :: policy   !< dvt_buffered
    integer, intent(in), optional :: window   !< 2
    type(*), intent(in), optional :: comm(..)
    integer, intent(in), optional :: rank, size
    real(c_double), intent(in), optional :: timeout
    integer, intent(in), optional :: readers  !< 0
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(ranks_c) :: ranks
    integer(c_int) :: status

    status = c_writer_close(self%handle, 0_c_int)
    self%handle = c_null_ptr
    status = ranks_of(ranks, comm, rank, size)
    if (status >= 0) then
      status = c_writer_open(in_c(url), chosen(policy, dvt_buffered), chosen(window, 2), ranks, &
        deadline(timeout), chosen(readers, 0), self%handle)
    end if
    call settle(status, stat, errmsg)
  end subroutine writer_open

  !> Begins a step. `attrs` is a JSON object as text.
  subroutine writer_begin(self, attrs, index, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in), optional :: attrs
    integer(c_int64_t), intent(out), optional :: index  !< the number of the step, from 0
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: number
    integer(c_int) :: status

    number = -1
    if (present(attrs)) then
      status = c_writer_begin(self%handle, in_c(attrs), number)
    else
      status = c_writer_begin(self%handle, index=number)
    end if
    call settle(status, stat, errmsg)
    if (present(index)) index = number
  end subroutine writer_begin

  !> Copies an array into the step, as it lies. With `shape` and `start` it is the block of a
  !> global array of that shape that begins there, counted from 0.
  subroutine writer_put(self, name, array, shape, start, dtype, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(in) :: array(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype  !< what the bits of integers are
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: given
    character(kind=c_char), target :: name_c(len(name) + 1)
    integer(c_int) :: status

    call mark(name_c, name)
    status = describe(given, name_c, array, dtype)
    if (status >= 0) status = c_place(given, shape, start)
    if (status >= 0) status = c_writer_put(self%handle, given)
    call settle(status, stat, errmsg)
  end subroutine writer_put

  !> Publishes the step once every rank has ended it. With `written_to`, who still writes through
  !> a pointer into the step writes to a memory of its own and harms nobody; that costs a mapping.
  subroutine writer_end(self, written_to, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    logical, intent(in), optional :: written_to
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_writer_end(self%handle, flag(written_to)), stat, errmsg)
  end subroutine writer_end

  !> Nothing of this rank is published.
  subroutine writer_abandon(self, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_writer_abandon(self%handle), stat, errmsg)
  end subroutine writer_abandon

  !> Whether a reader wants no more.
  function writer_stopped(self, stat, errmsg) result(stopped)
    class(dvt_writer), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: stopped
    integer(c_int) :: answer
    answer = 0
    call settle(c_writer_stopped(self%handle, answer), stat, errmsg)
    stopped = answer /= 0
  end function writer_stopped

  !> Readers see the end of the stream or, with `failed`, a writer that failed.
  subroutine writer_close(self, failed, stat, errmsg)
    class(dvt_writer), intent(inout) :: self
    logical, intent(in), optional :: failed
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_writer_close(self%handle, flag(failed))), stat, errmsg)
  end subroutine writer_close

  !> Pointers to what it kept end here.
  subroutine lease_close(self, stat, errmsg)
    class(dvt_lease), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_lease_close(self%handle)), stat, errmsg)
  end subroutine lease_close

  function writer_statistics(self, stat, errmsg) result(numbers)
    class(dvt_writer), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_stream_statistics) :: numbers
    call settle(c_writer_get_statistics(self%handle, numbers), stat, errmsg)
  end function writer_statistics

  function writer_info(self, stat, errmsg) result(info)
    class(dvt_writer), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_stream_info) :: info
    type(info_c) :: told
    call settle(c_writer_get_info(self%handle, told), stat, errmsg)
    info = info_of(told)
  end function writer_info

  function empty_described(self, name, own, axes, extents, shape, start, dtype, lease, room) &
    result(status)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    integer, intent(in) :: own, axes
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    type(described), intent(inout), target :: room
    integer(c_int) :: status, ignored
    character(kind=c_char), target :: name_c(len(name) + 1)

    call mark(name_c, name)
    status = c_extents(room, name_c, int(own, c_int), int(axes, c_int), extents)
    if (status >= 0 .and. present(dtype)) status = c_taken_as(room, int(dtype, c_int))
    if (status >= 0) status = c_place(room, shape, start)
    if (status >= 0 .and. present(lease)) then
      ignored = c_lease_close(lease%handle)
      lease%handle = c_null_ptr
      status = c_writer_empty(self%handle, room, lease%handle)
    else if (status >= 0) then
      status = c_writer_empty(self%handle, room)
    end if
    room%array%name = c_null_ptr
  end function empty_described

  subroutine empty_int8(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int8_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_int8, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_int8

  subroutine empty_int16(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int16_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_int16, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_int16

  subroutine empty_int32(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int32_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_int32, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_int32

  subroutine empty_int64(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int64_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_int64, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_int64

  subroutine empty_real32(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    real(c_float), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_float32, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_real32

  subroutine empty_real64(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    real(c_double), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_float64, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_real64

  subroutine empty_complex32(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    complex(c_float_complex), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_complex64, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_complex32

  subroutine empty_complex64(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    complex(c_double_complex), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_complex128, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_complex64

  subroutine empty_bool(self, name, pointer, extents, shape, start, dtype, lease, stat, errmsg)
    class(dvt_writer), intent(in) :: self
    character(*), intent(in) :: name
    logical(c_bool), pointer, intent(inout) :: pointer(..)
    type(*), intent(in) :: extents(..)
    type(*), intent(in), optional :: shape(..), start(..)
    integer, intent(in), optional :: dtype
    type(dvt_lease), intent(inout), optional :: lease
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: room
    integer(c_int) :: status

    status = empty_described(self, name, dvt_bool, rank(pointer), extents, shape, &
      start, dtype, lease, room)
    if (status >= 0) status = c_point(room%array, pointer)
    call settle(status, stat, errmsg)
  end subroutine empty_bool

end module dovetail_writers
