!> Arrays of any type and rank on their way to C, and pointers to what comes back.
!>
!> Arguments are of assumed type and rank, so that one procedure takes them all, as they lie and
!> without a copy; descriptors.c reads their extents and strides. Only pointers need a procedure for
!> each type.
module dovetail_arrays
  use, intrinsic :: iso_c_binding
  use dovetail_status
  implicit none
  private

  public :: array_c, described, arrays_in_hand
  public :: c_describe, c_place, c_extents, c_taken_as, c_integers, c_no_selection, c_selection, &
    c_axes, c_point
  public :: describe, mark, length, tell, dvt_dtype_name

  !> Element types, as `dtype=` of put, read and declare.
  integer, parameter, public :: dvt_bool = 1
  integer, parameter, public :: dvt_int8 = 2
  integer, parameter, public :: dvt_int16 = 3
  integer, parameter, public :: dvt_int32 = 4
  integer, parameter, public :: dvt_int64 = 5
  integer, parameter, public :: dvt_uint8 = 6
  integer, parameter, public :: dvt_uint16 = 7
  integer, parameter, public :: dvt_uint32 = 8
  integer, parameter, public :: dvt_uint64 = 9
  integer, parameter, public :: dvt_float16 = 10
  integer, parameter, public :: dvt_bfloat16 = 11
  integer, parameter, public :: dvt_float32 = 12
  integer, parameter, public :: dvt_float64 = 13
  integer, parameter, public :: dvt_complex64 = 14
  integer, parameter, public :: dvt_complex128 = 15

  integer, parameter, public :: most_axes = 15  !< of a Fortran array

  !> dvt_array of dovetail.h.
  type, bind(C) :: array_c
    type(c_ptr) :: name = c_null_ptr
    type(c_ptr) :: data = c_null_ptr
    integer(c_int32_t) :: dtype = 0
    integer(c_int32_t) :: rank = 0
    type(c_ptr) :: shape = c_null_ptr
    type(c_ptr) :: strides = c_null_ptr
    integer(c_int32_t) :: order = 0
    integer(c_int32_t) :: reserved = 0
    type(c_ptr) :: global_shape = c_null_ptr
    type(c_ptr) :: start = c_null_ptr
  end type array_c

  !> An array that is described, with room for its extents: see descriptors.c.
  type, bind(C) :: described
    type(array_c) :: array
    integer(c_int64_t) :: shape(most_axes) = 0
    integer(c_int64_t) :: strides(most_axes) = 0
    integer(c_int64_t) :: global_shape(most_axes) = 0
    integer(c_int64_t) :: start(most_axes) = 0
  end type described

  !> What holds named arrays that pointers can be had to: a value, a reservation, a step.
  type, abstract :: arrays_in_hand
  contains
    procedure(find_array), deferred :: find
    !> call held%view(name, pointer [, start, count]): points at an array, or at a selection of it
    !> (0-based starts; steps only), with bounds from 1. No copy where it lies in one piece. Good
    !> until the holder is closed, or is given something else to hold.
    generic :: view => view_int8, view_int16, view_int32, view_int64, &
      view_real32, view_real64, view_complex32, view_complex64, view_bool
    procedure, private :: view_int8, view_int16, view_int32, view_int64, &
      view_real32, view_real64, view_complex32, view_complex64, view_bool
  end type arrays_in_hand

  abstract interface
    function find_array(self, name, start, count, array) result(status)
      import :: arrays_in_hand, array_c, c_int
      class(arrays_in_hand), intent(in) :: self
      character(*), intent(in) :: name
      type(*), intent(in), optional :: start(..), count(..)
      type(array_c), intent(out) :: array
      integer(c_int) :: status
    end function find_array
  end interface

  interface
    function c_describe(self, name, array, dtype) result(status) bind(C, name="dvtf_describe")
      import :: described, c_char, c_int
      type(described), intent(inout), target :: self
      character(kind=c_char), intent(in), target :: name(*)
      type(*), intent(in) :: array(..)
      integer(c_int), intent(in), optional :: dtype
      integer(c_int) :: status
    end function c_describe
    function c_place(self, shape, start) result(status) bind(C, name="dvtf_place")
      import :: described, c_int
      type(described), intent(inout), target :: self
      type(*), intent(in), optional :: shape(..), start(..)
      integer(c_int) :: status
    end function c_place
    function c_extents(self, name, dtype, axes, extents) result(status) &
      bind(C, name="dvtf_extents")
      import :: described, c_char, c_int
      type(described), intent(inout), target :: self
      character(kind=c_char), intent(in), target :: name(*)
      integer(c_int), value :: dtype, axes
      type(*), intent(in) :: extents(..)
      integer(c_int) :: status
    end function c_extents
    function c_taken_as(self, dtype) result(status) bind(C, name="dvtf_taken_as")
      import :: described, c_int
      type(described), intent(inout) :: self
      integer(c_int), value :: dtype
      integer(c_int) :: status
    end function c_taken_as
    function c_no_selection(name, start, count) result(status) bind(C, name="dvtf_no_selection")
      import :: c_char, c_int
      character(kind=c_char), intent(in) :: name(*)
      type(*), intent(in), optional :: start(..), count(..)
      integer(c_int) :: status
    end function c_no_selection
    function c_selection(start, count, axes, name, given_start, given_count) result(status) &
      bind(C, name="dvtf_selection")
      import :: c_char, c_int, c_int64_t
      integer(c_int64_t), intent(inout) :: start(*), count(*)
      integer(c_int), intent(inout) :: axes
      character(kind=c_char), intent(in) :: name(*)
      type(*), intent(in), optional :: given_start(..), given_count(..)
      integer(c_int) :: status
    end function c_selection
    function c_axes(array, axes) result(status) bind(C, name="dvtf_axes")
      import :: array_c, c_int
      type(array_c), intent(in) :: array
      integer(c_int), value :: axes
      integer(c_int) :: status
    end function c_axes
    function c_dtype_name(dtype) result(name) bind(C, name="dvt_dtype_name")
      import :: c_int, c_ptr
      integer(c_int), value :: dtype
      type(c_ptr) :: name
    end function c_dtype_name
    function c_integers(numbers, count, given, what) result(status) bind(C, name="dvtf_integers")
      import :: c_int64_t, c_char, c_int
      integer(c_int64_t), intent(inout) :: numbers(*)
      integer(c_int), value :: count
      type(*), intent(in) :: given(..)
      character(kind=c_char), intent(in) :: what(*)
      integer(c_int) :: status
    end function c_integers
  end interface

  !> Points at an array in C.
  interface c_point
    function c_point_int8(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_int8_t
      type(array_c), intent(in) :: array
      integer(c_int8_t), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_int8
    function c_point_int16(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_int16_t
      type(array_c), intent(in) :: array
      integer(c_int16_t), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_int16
    function c_point_int32(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_int32_t
      type(array_c), intent(in) :: array
      integer(c_int32_t), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_int32
    function c_point_int64(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_int64_t
      type(array_c), intent(in) :: array
      integer(c_int64_t), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_int64
    function c_point_real32(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_float
      type(array_c), intent(in) :: array
      real(c_float), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_real32
    function c_point_real64(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_double
      type(array_c), intent(in) :: array
      real(c_double), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_real64
    function c_point_complex32(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_float_complex
      type(array_c), intent(in) :: array
      complex(c_float_complex), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_complex32
    function c_point_complex64(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_double_complex
      type(array_c), intent(in) :: array
      complex(c_double_complex), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_complex64
    function c_point_bool(array, pointer) result(status) bind(C, name="dvtf_point")
      import :: array_c, c_int, c_bool
      type(array_c), intent(in) :: array
      logical(c_bool), pointer, intent(inout) :: pointer(..)
      integer(c_int) :: status
    end function c_point_bool
  end interface c_point

contains

  subroutine view_int8(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int8_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_int8

  subroutine view_int16(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int16_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_int16

  subroutine view_int32(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int32_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_int32

  subroutine view_int64(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    integer(c_int64_t), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_int64

  subroutine view_real32(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    real(c_float), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_real32

  subroutine view_real64(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    real(c_double), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_real64

  subroutine view_complex32(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    complex(c_float_complex), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_complex32

  subroutine view_complex64(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    complex(c_double_complex), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_complex64

  subroutine view_bool(self, name, pointer, start, count, stat, errmsg)
    class(arrays_in_hand), intent(in) :: self
    character(*), intent(in) :: name
    logical(c_bool), pointer, intent(inout) :: pointer(..)
    type(*), intent(in), optional :: start(..), count(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    integer(c_int) :: status

    status = self%find(name, start, count, array)
    if (status >= 0) status = c_point(array, pointer)
    call settle(status, stat, errmsg)
  end subroutine view_bool

  !> "float32" for dvt_float32, and so on.
  function dvt_dtype_name(dtype) result(name)
    integer, intent(in) :: dtype
    character(:), allocatable :: name
    name = of_c(c_dtype_name(int(dtype, c_int)))
  end function dvt_dtype_name

  function describe(self, name, array, dtype) result(status)
    type(described), intent(inout), target :: self
    character(kind=c_char), intent(in), target :: name(*)
    type(*), intent(in) :: array(..)
    integer, intent(in), optional :: dtype
    integer(c_int) :: status
    if (present(dtype)) then
      status = c_describe(self, name, array, int(dtype, c_int))
    else
      status = c_describe(self, name, array)
    end if
  end function describe

  !> Text for C that has to outlive one call: without trailing blanks, its end marked.
  pure subroutine mark(marked, text)
    character(kind=c_char), intent(out) :: marked(:)
    character(*), intent(in) :: text
    integer :: i
    do i = 1, len_trim(text)
      marked(i) = text(i:i)
    end do
    marked(len_trim(text) + 1:) = c_null_char
  end subroutine mark

  pure function length(text)
    character(*), intent(in), optional :: text
    integer :: length
    length = 0
    if (present(text)) length = len(text)
  end function length

  !> What describe hands to the caller of a value or a step.
  subroutine tell(array, name, dtype, shape)
    type(array_c), intent(in) :: array
    character(:), allocatable, intent(out) :: name
    integer, intent(out) :: dtype
    integer(c_int64_t), allocatable, intent(out) :: shape(:)
    integer(c_int64_t), pointer :: extents(:)

    name = of_c(array%name)
    dtype = int(array%dtype)
    allocate (shape(array%rank))
    if (array%rank == 0 .or. .not. c_associated(array%shape)) return
    call c_f_pointer(array%shape, extents, [array%rank])
    shape = extents
  end subroutine tell

end module dovetail_arrays
