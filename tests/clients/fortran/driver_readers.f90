!> The functions of abi.py for the consuming end of a stream, and for streams from outside.
module driver_readers
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  use driver_ends
  implicit none
  private

  integer, parameter :: as_opened = -2

contains

  function reader_open(url, ranks, group, timeout, handle) result(status) &
    bind(C, name="fortran_reader_open")
    type(c_ptr), value :: url, group
    type(ranks_c), intent(in) :: ranks
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    character(:), allocatable :: named
    integer :: stat
    character(said_length) :: said
    allocate (reader)
    call take(group, named)
    call reader%open(text_of(url), rank=int(ranks%rank), size=int(ranks%size), group=named, &
      timeout=timeout, stat=stat, errmsg=said)
    status = told(stat, said)
    if (stat < 0) deallocate (reader)
    if (stat >= 0) handle = c_loc(reader)
  end function reader_open

  ! A step of its own each time: that before stays in hand.
  function reader_next(handle, timeout, held) result(status) bind(C, name="fortran_reader_next")
    type(c_ptr), value :: handle
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    type(dvt_step), pointer :: step
    logical :: given
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, reader)
    allocate (step)
    if (nint(timeout) == as_opened) then
      given = reader%next(step, stat=stat, errmsg=said)
    else
      given = reader%next(step, timeout, stat=stat, errmsg=said)
    end if
    status = in_hand(step, given, stat, said, held)
  end function reader_next

  function in_hand(step, given, stat, said, held) result(status)
    type(dvt_step), pointer, intent(inout) :: step
    logical, intent(in) :: given
    integer, intent(in) :: stat
    character(*), intent(in) :: said
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    if (given .neqv. stat == dvt_ok) error stop 'next gives a step or says why not'
    if (given) held = c_loc(step)
    if (.not. given) deallocate (step)
    status = told(stat, said)
  end function in_hand

  function reader_stop(handle) result(status) bind(C, name="fortran_reader_stop")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, reader)
    call reader%stop(stat=stat, errmsg=said)
    status = told(stat, said)
  end function reader_stop

  function reader_close(handle, failed) result(status) bind(C, name="fortran_reader_close")
    type(c_ptr), value :: handle
    integer(c_int), value :: failed
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, reader)
    call reader%close(failed=failed /= 0, stat=stat, errmsg=said)
    status = told(stat, said)
  end function reader_close

  function reader_get_statistics(handle, numbers) result(status) &
    bind(C, name="fortran_reader_get_statistics")
    type(c_ptr), value :: handle
    type(dvt_stream_statistics), intent(inout) :: numbers
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, reader)
    numbers = reader%statistics(stat=stat, errmsg=said)
    status = told(stat, said)
  end function reader_get_statistics

  function reader_get_info(handle, info) result(status) bind(C, name="fortran_reader_get_info")
    type(c_ptr), value :: handle
    type(info_c), intent(inout) :: info
    integer(c_int) :: status
    type(dvt_reader), pointer :: reader
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, reader)
    info = info_in(reader%info(stat=stat, errmsg=said))
    status = told(stat, said)
  end function reader_get_info

  function tail_open(url, handle) result(status) bind(C, name="fortran_tail_open")
    type(c_ptr), value :: url
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    type(dvt_tail), pointer :: tail
    integer :: stat
    character(said_length) :: said
    allocate (tail)
    call tail%open(text_of(url), stat=stat, errmsg=said)
    status = told(stat, said)
    if (stat < 0) deallocate (tail)
    if (stat >= 0) handle = c_loc(tail)
  end function tail_open

  function tail_next(handle, timeout, held) result(status) bind(C, name="fortran_tail_next")
    type(c_ptr), value :: handle
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    type(dvt_tail), pointer :: tail
    type(dvt_step), pointer :: step
    logical :: given
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, tail)
    allocate (step)
    given = tail%next(step, timeout, stat=stat, errmsg=said)
    status = in_hand(step, given, stat, said, held)
  end function tail_next

  function tail_close(handle) result(status) bind(C, name="fortran_tail_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_tail), pointer :: tail
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, tail)
    call tail%close(stat=stat, errmsg=said)
    deallocate (tail)
    status = told(stat, said)
  end function tail_close

  function stream_describe(url, description) result(status) bind(C, name="fortran_stream_describe")
    type(c_ptr), value :: url
    type(dvt_stream_description), intent(inout) :: description
    integer(c_int) :: status
    integer :: stat
    character(said_length) :: said
    call dvt_describe_stream(text_of(url), description, stat=stat, errmsg=said)
    status = told(stat, said)
  end function stream_describe

  function stream_destroy(url) result(status) bind(C, name="fortran_stream_destroy")
    type(c_ptr), value :: url
    integer(c_int) :: status
    integer :: stat
    character(said_length) :: said
    call dvt_destroy_stream(text_of(url), stat=stat, errmsg=said)
    status = told(stat, said)
  end function stream_destroy

end module driver_readers
