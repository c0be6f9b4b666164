!> Text between the adapter, which speaks C, and the module, and what a call came to.
module driver_texts
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer, parameter :: said_length = 8000

  interface
    subroutine driver_said(text, length) bind(C)
      import :: c_char, c_int
      character(kind=c_char), intent(in) :: text(*)
      integer(c_int), value :: length
    end subroutine driver_said
    function driver_kept(bytes, length) result(copy) bind(C)
      import :: c_char, c_ptr, c_int
      character(kind=c_char), intent(in) :: bytes(*)
      integer(c_int), value :: length
      type(c_ptr) :: copy
    end function driver_kept
    function driver_extents(numbers, count) result(copy) bind(C)
      import :: c_int64_t, c_ptr, c_int
      integer(c_int64_t), intent(in) :: numbers(*)
      integer(c_int), value :: count
      type(c_ptr) :: copy
    end function driver_extents
    pure function driver_strlen(text) result(length) bind(C, name="strlen")
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
      integer(c_size_t) :: length
    end function driver_strlen
  end interface

contains

  !> Hands the sentence of a failure on, and the status back.
  function told(stat, said) result(status)
    integer, intent(in) :: stat
    character(*), intent(in) :: said
    integer(c_int) :: status
    if (stat < 0) call driver_said(said, int(len_trim(said), c_int))
    status = int(stat, c_int)
  end function told

  !> Not allocated for NULL, which is as if it were not there where it is optional.
  subroutine take(text, letters)
    type(c_ptr), intent(in) :: text
    character(:), allocatable, intent(out) :: letters
    character(kind=c_char), pointer :: bytes(:)
    integer :: i
    if (.not. c_associated(text)) return
    call c_f_pointer(text, bytes, [driver_strlen(text)])
    allocate (character(size(bytes)) :: letters)
    do i = 1, size(bytes)
      letters(i:i) = bytes(i)
    end do
  end subroutine take

  !> Of known length: gfortran keeps that of a deferred one where all threads share it.
  function text_of(text) result(letters)
    type(c_ptr), intent(in) :: text
    character(length_of(text)) :: letters
    character(kind=c_char), pointer :: bytes(:)
    integer :: i
    if (len(letters) == 0) return
    call c_f_pointer(text, bytes, [len(letters)])
    do i = 1, len(letters)
      letters(i:i) = bytes(i)
    end do
  end function text_of

  pure function length_of(text) result(length)
    type(c_ptr), intent(in) :: text
    integer :: length
    length = 0
    if (c_associated(text)) length = int(driver_strlen(text))
  end function length_of

  !> Lives until the adapter has looked at it.
  function kept(text) result(copy)
    character(*), intent(in) :: text
    type(c_ptr) :: copy
    copy = driver_kept(text, int(len(text), c_int))
  end function kept

  !> Into the caller's buffer, which takes it all.
  subroutine give(text, buffer)
    character(:), allocatable, intent(in) :: text
    type(c_ptr), intent(in) :: buffer
    character(kind=c_char), pointer :: bytes(:)
    integer :: i
    if (.not. (allocated(text) .and. c_associated(buffer))) return
    call c_f_pointer(buffer, bytes, [len(text) + 1])
    do i = 1, len(text)
      bytes(i) = text(i:i)
    end do
    bytes(len(text) + 1) = c_null_char
  end subroutine give

  !> Name and extents as the adapter takes them.
  subroutine describe(called, shape, name, axes, extents)
    character(*), intent(in) :: called
    integer(c_int64_t), intent(in) :: shape(:)
    type(c_ptr), intent(inout) :: name, extents
    integer(c_int), intent(inout) :: axes
    name = kept(called)
    axes = size(shape)
    extents = driver_extents(shape, axes)
  end subroutine describe

end module driver_texts
