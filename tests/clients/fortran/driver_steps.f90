!> The functions of abi.py for complete steps in hand.
module driver_steps
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  implicit none
  private

contains

  function step_index(handle, index) result(status) bind(C, name="fortran_step_index")
    type(c_ptr), value :: handle
    integer(c_int64_t), intent(inout) :: index
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    index = step%index(stat=stat, errmsg=said)
    status = told(stat, said)
  end function step_index

  function step_time(handle, seconds) result(status) bind(C, name="fortran_step_time")
    type(c_ptr), value :: handle
    real(c_double), intent(inout) :: seconds
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    seconds = step%time(stat=stat, errmsg=said)
    status = told(stat, said)
  end function step_time

  function step_attrs(handle, json) result(status) bind(C, name="fortran_step_attrs")
    type(c_ptr), value :: handle
    type(c_ptr), intent(inout) :: json
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    json = kept(step%attrs(stat=stat, errmsg=said))
    status = told(stat, said)
  end function step_attrs

  function step_count(handle, count) result(status) bind(C, name="fortran_step_count")
    type(c_ptr), value :: handle
    integer(c_int), intent(inout) :: count
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    count = step%count(stat=stat, errmsg=said)
    status = told(stat, said)
  end function step_count

  !> `index` counts from 0, as it does in C.
  function step_describe(handle, index, name, dtype, axes, extents) result(status) &
    bind(C, name="driver_step_describe")
    type(c_ptr), value :: handle
    integer(c_int), value :: index
    type(c_ptr), intent(inout) :: name, extents
    integer(c_int), intent(inout) :: dtype, axes
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    character(:), allocatable :: called
    integer(c_int64_t), allocatable :: shape(:)
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    call step%describe(int(index) + 1, called, dtype, shape, stat=stat, errmsg=said)
    if (stat >= 0) call describe(called, shape, name, axes, extents)
    status = told(stat, said)
  end function step_describe

  function step_read(handle, name, array, dtype, axes, start) result(status) &
    bind(C, name="driver_step_read")
    type(c_ptr), value :: handle, name, start
    type(*), intent(inout) :: array(..)
    integer(c_int), value :: dtype, axes
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer(c_int64_t), pointer :: first(:)
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    nullify (first)
    if (c_associated(start)) call c_f_pointer(start, first, [axes])
    call step%read(text_of(name), array, start=first, dtype=int(dtype), stat=stat, errmsg=said)
    status = told(stat, said)
  end function step_read

  function step_end(handle) result(status) bind(C, name="fortran_step_end")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    call step%end(stat=stat, errmsg=said)
    status = told(stat, said)
  end function step_end

  function step_close(handle) result(status) bind(C, name="fortran_step_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_step), pointer :: step
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, step)
    call step%close(stat=stat, errmsg=said)
    deallocate (step)
    status = told(stat, said)
  end function step_close

end module driver_steps
