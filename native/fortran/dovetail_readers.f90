!> The consuming end of a stream, and streams seen from outside.
!>
!>   open - do while (next(step)) - view, read ... - close
module dovetail_readers
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_streams_c
  use dovetail_opening
  use dovetail_steps
  implicit none
  private

  public :: dvt_reader, dvt_tail, dvt_describe_stream, dvt_destroy_stream

  integer, parameter, public :: dvt_stream_open = 0, dvt_stream_ended = 1, &
    dvt_stream_failed = 2, dvt_stream_lost = 3
  integer, parameter, public :: dvt_group_joining = 1, dvt_group_live = 2, dvt_group_left = 3, &
    dvt_group_failed = 4, dvt_group_expelled = 5, dvt_group_lost = 6

  real(c_double), parameter :: as_opened = -2

  type :: dvt_reader
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: open => reader_open
    procedure :: next => reader_next
    procedure :: stop => reader_stop
    procedure :: close => reader_close
    procedure :: statistics => reader_statistics
    procedure :: info => reader_info
  end type dvt_reader

  !> Follows a stream's newest steps; nobody is blocked and nothing is taken.
  type :: dvt_tail
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: open => tail_open
    procedure :: next => tail_next
    procedure :: close => tail_close
  end type dvt_tail

contains

  !> Opens the consuming end, once a writer has opened the stream. `comm`, `rank` and `size` as for
  !> a writer; ranks that share no communicator name the `group` that they form.
  subroutine reader_open(self, url, comm, rank, size, group, timeout, stat, errmsg)
    class(dvt_reader), intent(inout) :: self
    character(*), intent(in) :: url
    type(*), intent(in), optional :: comm(..)
    integer, intent(in), optional :: rank, size
    character(*), intent(in), optional :: group
    real(c_double), intent(in), optional :: timeout
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(ranks_c) :: ranks
    integer(c_int) :: status

    status = c_reader_close(self%handle, 0_c_int)
    self%handle = c_null_ptr
    status = ranks_of(ranks, comm, rank, size)
    if (status >= 0) then
      if (present(group)) then
        status = c_reader_open(in_c(url), ranks, in_c(group), deadline(timeout), self%handle)
      else
        status = c_reader_open(in_c(url), ranks, timeout=deadline(timeout), reader=self%handle)
      end if
    end if
    call settle(status, stat, errmsg)
  end subroutine reader_open

  !> Ends and closes the step before, and waits for the next: whether there is one. At the end of
  !> the stream `stat` is dvt_end; after dvt_timeout the call may be made again.
  function reader_next(self, step, timeout, stat, errmsg) result(given)
    class(dvt_reader), intent(in) :: self
    type(dvt_step), intent(inout) :: step
    real(c_double), intent(in), optional :: timeout
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: given
    integer(c_int) :: status
    real(c_double) :: seconds

    call release(step)
    seconds = as_opened
    if (present(timeout)) seconds = timeout
    status = c_reader_next(self%handle, seconds, step%handle)
    given = status == dvt_ok
    call settle(status, stat, errmsg)
  end function reader_next

  !> Leaves, and tells the producer to stop.
  subroutine reader_stop(self, stat, errmsg)
    class(dvt_reader), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_reader_stop(self%handle), stat, errmsg)
  end subroutine reader_stop

  subroutine reader_close(self, failed, stat, errmsg)
    class(dvt_reader), intent(inout) :: self
    logical, intent(in), optional :: failed
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_reader_close(self%handle, flag(failed))), stat, errmsg)
  end subroutine reader_close

  function reader_statistics(self, stat, errmsg) result(numbers)
    class(dvt_reader), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_stream_statistics) :: numbers
    call settle(c_reader_get_statistics(self%handle, numbers), stat, errmsg)
  end function reader_statistics

  function reader_info(self, stat, errmsg) result(info)
    class(dvt_reader), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_stream_info) :: info
    type(info_c) :: told
    call settle(c_reader_get_info(self%handle, told), stat, errmsg)
    info = info_of(told)
  end function reader_info

  subroutine tail_open(self, url, stat, errmsg)
    class(dvt_tail), intent(inout) :: self
    character(*), intent(in) :: url
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int) :: ignored
    ignored = c_tail_close(self%handle)
    self%handle = c_null_ptr
    call settle(c_tail_open(in_c(url), self%handle), stat, errmsg)
  end subroutine tail_open

  function tail_next(self, step, timeout, stat, errmsg) result(given)
    class(dvt_tail), intent(in) :: self
    type(dvt_step), intent(inout) :: step
    real(c_double), intent(in) :: timeout
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: given
    integer(c_int) :: status

    call release(step)
    status = c_tail_next(self%handle, timeout, step%handle)
    given = status == dvt_ok
    call settle(status, stat, errmsg)
  end function tail_next

  subroutine tail_close(self, stat, errmsg)
    class(dvt_tail), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_tail_close(self%handle)), stat, errmsg)
  end subroutine tail_close

  !> A stream from outside; dvt_absent if there is none.
  subroutine dvt_describe_stream(url, description, stat, errmsg)
    character(*), intent(in) :: url
    type(dvt_stream_description), intent(inout) :: description
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_stream_describe(in_c(url), description), stat, errmsg)
  end subroutine dvt_describe_stream

  !> Removes a stream with all it holds.
  subroutine dvt_destroy_stream(url, stat, errmsg)
    character(*), intent(in) :: url
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_stream_destroy(in_c(url)), stat, errmsg)
  end subroutine dvt_destroy_stream

end module dovetail_readers
