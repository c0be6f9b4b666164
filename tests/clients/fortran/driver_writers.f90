!> The functions of abi.py for the producing end of a stream.
module driver_writers
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  use driver_ends
  implicit none
  private

contains

  function writer_open(url, policy, window, ranks, timeout, readers, handle) result(status) &
    bind(C, name="fortran_writer_open")
    type(c_ptr), value :: url
    integer(c_int), value :: policy, window, readers
    type(ranks_c), intent(in) :: ranks
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    allocate (out)
    call out%open(text_of(url), policy=int(policy), window=int(window), rank=int(ranks%rank), &
      size=int(ranks%size), timeout=timeout, readers=int(readers), stat=stat, errmsg=said)
    status = told(stat, said)
    if (stat < 0) deallocate (out)
    if (stat >= 0) handle = c_loc(out)
  end function writer_open

  function writer_begin(handle, attrs, index) result(status) bind(C, name="fortran_writer_begin")
    type(c_ptr), value :: handle, attrs
    integer(c_int64_t), intent(inout) :: index
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    character(:), allocatable :: json
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    call take(attrs, json)
    call out%begin(json, index, stat=stat, errmsg=said)
    status = told(stat, said)
  end function writer_begin

  function writer_put(handle, name, array, dtype, axes, shape, start) result(status) &
    bind(C, name="driver_writer_put")
    type(c_ptr), value :: handle, name, shape, start
    type(*), intent(in) :: array(..)
    integer(c_int), value :: dtype, axes
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer(c_int64_t), pointer :: whole(:), first(:)
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    nullify (whole, first)
    if (c_associated(shape)) call c_f_pointer(shape, whole, [axes])
    if (c_associated(start)) call c_f_pointer(start, first, [axes])
    call out%put(text_of(name), array, shape=whole, start=first, dtype=int(dtype), stat=stat, &
      errmsg=said)
    status = told(stat, said)
  end function writer_put

  function writer_end(handle, written_to) result(status) bind(C, name="fortran_writer_end")
    type(c_ptr), value :: handle
    integer(c_int), value :: written_to
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    call out%end(written_to=written_to /= 0, stat=stat, errmsg=said)
    status = told(stat, said)
  end function writer_end

  function writer_abandon(handle) result(status) bind(C, name="fortran_writer_abandon")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    call out%abandon(stat=stat, errmsg=said)
    status = told(stat, said)
  end function writer_abandon

  function writer_stopped(handle, stopped) result(status) bind(C, name="fortran_writer_stopped")
    type(c_ptr), value :: handle
    integer(c_int), intent(inout) :: stopped
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    stopped = merge(1, 0, out%stopped(stat=stat, errmsg=said))
    status = told(stat, said)
  end function writer_stopped

  function writer_close(handle, failed) result(status) bind(C, name="fortran_writer_close")
    type(c_ptr), value :: handle
    integer(c_int), value :: failed
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    call out%close(failed=failed /= 0, stat=stat, errmsg=said)
    status = told(stat, said)
  end function writer_close

  function lease_close(handle) result(status) bind(C, name="fortran_lease_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_lease), pointer :: lease
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, lease)
    call lease%close(stat=stat, errmsg=said)
    deallocate (lease)
    status = told(stat, said)
  end function lease_close

  function writer_get_statistics(handle, numbers) result(status) &
    bind(C, name="fortran_writer_get_statistics")
    type(c_ptr), value :: handle
    type(dvt_stream_statistics), intent(inout) :: numbers
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    numbers = out%statistics(stat=stat, errmsg=said)
    status = told(stat, said)
  end function writer_get_statistics

  function writer_get_info(handle, info) result(status) bind(C, name="fortran_writer_get_info")
    type(c_ptr), value :: handle
    type(info_c), intent(inout) :: info
    integer(c_int) :: status
    type(dvt_writer), pointer :: out
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, out)
    info = info_in(out%info(stat=stat, errmsg=said))
    status = told(stat, said)
  end function writer_get_info

end module driver_writers
