!> Pointers of every type to arrays in hand, and to room in a step.
module driver_views
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  implicit none
  private

  integer, parameter :: of_value = 0, of_reservation = 1, of_step = 2

contains

  function view_int8(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_int8")
    integer(c_int8_t), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_int8

  function view_int16(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_int16")
    integer(c_int16_t), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_int16

  function view_int32(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_int32")
    integer(c_int32_t), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_int32

  function view_int64(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_int64")
    integer(c_int64_t), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_int64

  function view_real32(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_real32")
    real(c_float), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_real32

  function view_real64(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_real64")
    real(c_double), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_real64

  function view_complex32(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_complex32")
    complex(c_float_complex), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_complex32

  function view_complex64(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_complex64")
    complex(c_double_complex), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_complex64

  function view_bool(kind, handle, name, array, axes, start, count) result(status) &
    bind(C, name="driver_view_bool")
    logical(c_bool), pointer, intent(inout) :: array(..)
    include 'view.inc'
  end function view_bool

  function empty_int8(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_int8")
    integer(c_int8_t), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_int8

  function empty_int16(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_int16")
    integer(c_int16_t), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_int16

  function empty_int32(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_int32")
    integer(c_int32_t), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_int32

  function empty_int64(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_int64")
    integer(c_int64_t), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_int64

  function empty_real32(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_real32")
    real(c_float), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_real32

  function empty_real64(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_real64")
    real(c_double), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_real64

  function empty_complex32(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_complex32")
    complex(c_float_complex), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_complex32

  function empty_complex64(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_complex64")
    complex(c_double_complex), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_complex64

  function empty_bool(handle, name, array, dtype, axes, extents, shape, start, held) &
    result(status) bind(C, name="driver_empty_bool")
    logical(c_bool), pointer, intent(inout) :: array(..)
    include 'empty.inc'
  end function empty_bool

end module driver_views
