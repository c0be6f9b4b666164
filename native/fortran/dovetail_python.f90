!> Python inside the solver: what dovetail/python.h says, for Fortran.
!>
!>   call dvt_python_call('train:improve', 'u', u, 'v', v, settings='{"rate": 0.5}')
module dovetail_python
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  implicit none
  private

  public :: dvt_python_call

  interface
    function c_python_call(function, arrays, count, settings, answer) result(status) &
      bind(C, name="dvtf_python_call")
      import :: c_char, c_int, c_ptr, described
      character(kind=c_char), intent(in) :: function(*)
      type(described), intent(in), target :: arrays(*)
      integer(c_int), value :: count
      character(kind=c_char), intent(in) :: settings(*)
      type(c_ptr), intent(inout), optional :: answer
      integer(c_int) :: status
    end function c_python_call
  end interface

contains

  !> Calls a function of Python with up to eight arrays, each a keyword argument of its name: views
  !> of the caller's memory, which the function may write to, with the axes and indices of Fortran,
  !> counted from 0. Sections are views too: nothing is copied. `settings`, a JSON object as text,
  !> has further arguments. `answer` takes what the function returned, as JSON. What it raises is
  !> dvt_python_failed; the first line of `errmsg` says what, and the traceback follows.
  subroutine dvt_python_call(function, name1, array1, name2, array2, name3, array3, name4, array4, &
    name5, array5, name6, array6, name7, array7, name8, array8, settings, answer, stat, errmsg)
    character(*), intent(in) :: function  !< "module:function"
    character(*), intent(in), optional :: name1, name2, name3, name4, name5, name6, name7, name8
    type(*), intent(inout), optional :: array1(..), array2(..), array3(..), array4(..), &
      array5(..), array6(..), array7(..), array8(..)
    character(*), intent(in), optional :: settings
    character(:), allocatable, intent(out), optional :: answer
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: all(8)
    character(kind=c_char), allocatable, target :: name_c(:, :)
    character(:), allocatable :: chosen
    type(c_ptr) :: text
    integer(c_int) :: status
    integer :: count

    allocate (name_c(max(length(name1), length(name2), length(name3), length(name4), &
      length(name5), length(name6), length(name7), length(name8)) + 1, 8))
    count = 0
    status = dvt_ok
    call add(name1, array1)
    call add(name2, array2)
    call add(name3, array3)
    call add(name4, array4)
    call add(name5, array5)
    call add(name6, array6)
    call add(name7, array7)
    call add(name8, array8)
    chosen = '{}'
    if (present(settings)) chosen = settings
    text = c_null_ptr
    if (status >= 0) then
      if (present(answer)) then
        status = c_python_call(in_c(function), all, count, in_c(chosen), text)
      else
        status = c_python_call(in_c(function), all, count, in_c(chosen))
      end if
    end if
    call settle(status, stat, errmsg)
    if (present(answer)) answer = of_c(text)

  contains

    subroutine add(name, array)
      character(*), intent(in), optional :: name
      type(*), intent(in), optional :: array(..)
      if (status < 0 .or. .not. (present(name) .and. present(array))) return
      count = count + 1
      call mark(name_c(:, count), name)
      status = describe(all(count), name_c(:, count), array)
    end subroutine add

  end subroutine dvt_python_call

end module dovetail_python
