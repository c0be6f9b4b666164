!> The functions of abi.py for values and for room to be filled in place.
module driver_values
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  implicit none
  private

contains

  function in_hand(handle) result(held)
    type(c_ptr), intent(in) :: handle
    type(dvt_value), pointer :: held
    call c_f_pointer(handle, held)
  end function in_hand

  function value_count(handle, count) result(status) bind(C, name="fortran_value_count")
    type(c_ptr), value :: handle
    integer(c_int), intent(inout) :: count
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    count = held%count(stat=stat, errmsg=said)
    status = told(stat, said)
  end function value_count

  !> `index` counts from 0, as it does in C.
  function value_describe(handle, index, name, dtype, axes, extents) result(status) &
    bind(C, name="driver_value_describe")
    type(c_ptr), value :: handle
    integer(c_int), value :: index
    type(c_ptr), intent(inout) :: name, extents
    integer(c_int), intent(inout) :: dtype, axes
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    character(:), allocatable :: called
    integer(c_int64_t), allocatable :: shape(:)
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    call held%describe(int(index) + 1, called, dtype, shape, stat=stat, errmsg=said)
    if (stat >= 0) call describe(called, shape, name, axes, extents)
    status = told(stat, said)
  end function value_describe

  function value_read(handle, name, array, dtype) result(status) bind(C, name="driver_value_read")
    type(c_ptr), value :: handle, name
    type(*), intent(inout) :: array(..)
    integer(c_int), value :: dtype
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    call held%read(text_of(name), array, dtype=int(dtype), stat=stat, errmsg=said)
    status = told(stat, said)
  end function value_read

  function value_attrs(handle, json) result(status) bind(C, name="fortran_value_attrs")
    type(c_ptr), value :: handle
    type(c_ptr), intent(inout) :: json
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    json = kept(held%attrs(stat=stat, errmsg=said))
    status = told(stat, said)
  end function value_attrs

  function value_version(handle, version) result(status) bind(C, name="fortran_value_version")
    type(c_ptr), value :: handle
    type(c_ptr), intent(inout) :: version
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    version = kept(held%version(stat=stat, errmsg=said))
    status = told(stat, said)
  end function value_version

  function value_nbytes(handle, nbytes) result(status) bind(C, name="fortran_value_nbytes")
    type(c_ptr), value :: handle
    integer(c_int64_t), intent(inout) :: nbytes
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    nbytes = held%nbytes(stat=stat, errmsg=said)
    status = told(stat, said)
  end function value_nbytes

  function value_time(handle, seconds) result(status) bind(C, name="fortran_value_time")
    type(c_ptr), value :: handle
    real(c_double), intent(inout) :: seconds
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    seconds = held%time(stat=stat, errmsg=said)
    status = told(stat, said)
  end function value_time

  function value_close(handle) result(status) bind(C, name="fortran_value_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_value), pointer :: held
    integer :: stat
    character(said_length) :: said
    held => in_hand(handle)
    call held%close(stat=stat, errmsg=said)
    status = told(stat, said)
    deallocate (held)
  end function value_close

  subroutine room_new(handle) bind(C, name="driver_room_new")
    type(c_ptr), intent(inout) :: handle
    type(dvt_reservation), pointer :: room
    allocate (room)
    handle = c_loc(room)
  end subroutine room_new

  function room_declare(handle, name, dtype, axes, extents) result(status) &
    bind(C, name="driver_room_declare")
    type(c_ptr), value :: handle, name, extents
    integer(c_int), value :: dtype, axes
    integer(c_int) :: status
    type(dvt_reservation), pointer :: room
    integer(c_int64_t), pointer :: shape(:)
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, room)
    call c_f_pointer(extents, shape, [axes])
    call room%declare(text_of(name), int(dtype), shape, stat=stat, errmsg=said)
    status = told(stat, said)
  end function room_declare

  function room_reserve(handle, key, attrs, place) result(status) &
    bind(C, name="driver_room_reserve")
    type(c_ptr), value :: handle, key, attrs, place
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(dvt_reservation), pointer :: room
    character(:), allocatable :: json
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, store)
    call c_f_pointer(place, room)
    call take(attrs, json)
    call store%reserve(text_of(key), room, attrs=json, stat=stat, errmsg=said)
    status = told(stat, said)
  end function room_reserve

  function room_commit(handle, written_to, version) result(status) &
    bind(C, name="driver_room_commit")
    type(c_ptr), value :: handle, version
    integer(c_int), value :: written_to
    integer(c_int) :: status
    type(dvt_reservation), pointer :: room
    character(:), allocatable :: token
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, room)
    call room%commit(version=token, written_to=written_to /= 0, stat=stat, errmsg=said)
    call give(token, version)
    status = told(stat, said)
  end function room_commit

  function room_close(handle) result(status) bind(C, name="driver_room_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_reservation), pointer :: room
    integer :: stat
    character(said_length) :: said
    call c_f_pointer(handle, room)
    call room%close(stat=stat, errmsg=said)
    status = told(stat, said)
    deallocate (room)
  end function room_close

end module driver_values
