!> Complete steps of a stream, in the hands of who reads it.
module dovetail_steps
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  use dovetail_streams_c
  implicit none
  private

  public :: dvt_step, release

  integer, parameter :: most_axes_of_all = 64  !< DVT_MOST_AXES

  !> A complete step: a lease on its blocks, until it is closed or the next one takes its place.
  type, extends(arrays_in_hand) :: dvt_step
    type(c_ptr) :: handle = c_null_ptr  !< the library's; for the modules of this one only
  contains
    procedure :: find => step_find
    procedure :: read => step_read
    procedure :: index => step_index
    procedure :: time => step_time
    procedure :: attrs => step_attrs
    procedure :: count => step_count
    procedure :: describe => step_describe
    procedure :: end => step_end
    procedure :: close => step_close
  end type dvt_step

contains

  !> Of a selection that lies in several blocks the step keeps a copy.
  function step_find(self, name, start, count, array) result(status)
    class(dvt_step), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(in), optional :: start(..), count(..)
    type(array_c), intent(out) :: array
    integer(c_int) :: status
    integer(c_int64_t) :: first(most_axes_of_all), extents(most_axes_of_all)
    integer(c_int) :: axes

    if (.not. (present(start) .or. present(count))) then
      status = c_step_view(self%handle, in_c(name), array=array)
      return
    end if
    first = 0
    extents = 0
    status = c_selection(first, extents, axes, in_c(name), start, count)
    if (status >= 0) status = c_step_view(self%handle, in_c(name), first, extents, array)
    if (status >= 0) status = c_axes(array, axes)
  end function step_find

  !> Copies a selection of an array into the caller's, which has its shape, in whatever order it
  !> lies. `start` is 0-based; without it the selection begins at the origin.
  subroutine step_read(self, name, array, start, dtype, stat, errmsg)
    class(dvt_step), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(inout) :: array(..)
    type(*), intent(in), optional :: start(..)
    integer, intent(in), optional :: dtype
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: into
    character(kind=c_char), target :: name_c(len(name) + 1)
    integer(c_int) :: status

    call mark(name_c, name)
    status = describe(into, name_c, array, dtype)
    if (status >= 0 .and. present(start)) then
      status = c_integers(into%start, into%array%rank, start, in_c('start'))
      if (status >= 0) status = c_step_read(self%handle, into, into%start)
    else if (status >= 0) then
      status = c_step_read(self%handle, into)
    end if
    call settle(status, stat, errmsg)
  end subroutine step_read

  !> Its number in the stream, from 0. Gaps: dropped, or another group's.
  function step_index(self, stat, errmsg) result(index)
    class(dvt_step), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: index
    index = -1
    call settle(c_step_index(self%handle, index), stat, errmsg)
  end function step_index

  !> When it was complete, in seconds since the epoch.
  function step_time(self, stat, errmsg) result(seconds)
    class(dvt_step), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    real(c_double) :: seconds
    seconds = 0
    call settle(c_step_time(self%handle, seconds), stat, errmsg)
  end function step_time

  !> The attributes, as a JSON object; "{}" for none.
  function step_attrs(self, stat, errmsg) result(json)
    class(dvt_step), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: json
    type(c_ptr) :: text
    text = c_null_ptr
    call settle(c_step_attrs(self%handle, text), stat, errmsg)
    json = of_c(text)
  end function step_attrs

  !> How many arrays there are.
  function step_count(self, stat, errmsg) result(count)
    class(dvt_step), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer :: count
    integer(c_int) :: number
    number = 0
    call settle(c_step_count(self%handle, number), stat, errmsg)
    count = int(number)
  end function step_count

  !> Name, dtype and extents of the whole array `index`, which counts from 1.
  subroutine step_describe(self, index, name, dtype, shape, stat, errmsg)
    class(dvt_step), intent(in) :: self
    integer, intent(in) :: index
    character(:), allocatable, intent(out) :: name
    integer, intent(out) :: dtype
    integer(c_int64_t), allocatable, intent(out) :: shape(:)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    call settle(c_step_array(self%handle, int(index - 1, c_int), array), stat, errmsg)
    call tell(array, name, dtype, shape)
  end subroutine step_describe

  !> Done with it, so that the producer may go on; pointers stay valid.
  subroutine step_end(self, stat, errmsg)
    class(dvt_step), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_step_end(self%handle), stat, errmsg)
  end subroutine step_end

  !> Done with it, and with pointers to its arrays.
  subroutine step_close(self, stat, errmsg)
    class(dvt_step), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_step_close(self%handle)), stat, errmsg)
  end subroutine step_close

  !> Closes what is held, if anything is; whoever closed it already has done no harm.
  subroutine release(step)
    type(dvt_step), intent(inout) :: step
    integer(c_int) :: ignored
    ignored = c_step_close(step%handle)
    step%handle = c_null_ptr
  end subroutine release

end module dovetail_steps
