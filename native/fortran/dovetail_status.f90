!> What a call came to, and text on its way to C and back.
module dovetail_status
  use, intrinsic :: iso_c_binding
  implicit none
  private

  public :: dvt_last_error, dvt_status_name, dvt_version
  public :: settle, once, in_c, of_c, flag, c_texts_close, lines_of

  !> `stat` of every call: 0 or `dvt_end` is success, and what is negative is an error.
  integer, parameter, public :: dvt_ok = 0
  integer, parameter, public :: dvt_end = 1               !< the stream has ended, cleanly
  integer, parameter, public :: dvt_fall_back = 2         !< the guard does not trust the model
  integer, parameter, public :: dvt_argument = -1         !< a number out of range, a wrong handle
  integer, parameter, public :: dvt_invalid_url = -2      !< an unknown scheme, option or name
  integer, parameter, public :: dvt_invalid_key = -3      !< a key that is not UTF-8
  integer, parameter, public :: dvt_unsupported = -4      !< an array that the format cannot hold
  integer, parameter, public :: dvt_coverage = -5         !< blocks leave a gap or overlap
  integer, parameter, public :: dvt_capability = -6       !< the engine cannot keep what was asked
  integer, parameter, public :: dvt_unavailable = -7      !< not reached from here
  integer, parameter, public :: dvt_access = -8           !< a server did not let us in
  integer, parameter, public :: dvt_absent = -9           !< nothing under this key or name
  integer, parameter, public :: dvt_full = -10            !< no room; nothing stored was lost
  integer, parameter, public :: dvt_corrupt = -11         !< bytes that are not a sound value
  integer, parameter, public :: dvt_format_version = -12  !< laid out by a newer version
  integer, parameter, public :: dvt_timeout = -13         !< the deadline passed; call again
  integer, parameter, public :: dvt_closed = -14          !< used after it was closed here
  integer, parameter, public :: dvt_stopped = -15         !< a reader called stop: end the work
  integer, parameter, public :: dvt_lost = -16            !< the other side died or failed
  integer, parameter, public :: dvt_expelled = -17        !< this reader held up the producer
  integer, parameter, public :: dvt_busy = -18            !< the stream has a writer already
  integer, parameter, public :: dvt_system = -19          !< the system refused
  integer, parameter, public :: dvt_internal = -20        !< a defect of this library
  integer, parameter, public :: dvt_model_failed = -21    !< a model was not compiled or run
  integer, parameter, public :: dvt_python_failed = -22   !< what was called in Python raised

  interface
    function c_last_error() result(text) bind(C, name="dvt_last_error")
      import :: c_ptr
      type(c_ptr) :: text
    end function c_last_error
    function c_complaint() result(text) bind(C, name="dvtf_complaint")
      import :: c_ptr
      type(c_ptr) :: text
    end function c_complaint
    function c_status_name(status) result(text) bind(C, name="dvt_status_name")
      import :: c_int, c_ptr
      integer(c_int), value :: status
      type(c_ptr) :: text
    end function c_status_name
    function c_version() result(text) bind(C, name="dvt_version")
      import :: c_ptr
      type(c_ptr) :: text
    end function c_version
    pure function c_strlen(text) result(length) bind(C, name="strlen")
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
      integer(c_size_t) :: length
    end function c_strlen
    function c_texts_count(texts) result(count) bind(C, name="dvt_texts_count")
      import :: c_ptr, c_int64_t
      type(c_ptr), value :: texts
      integer(c_int64_t) :: count
    end function c_texts_count
    function c_texts_at(texts, index) result(text) bind(C, name="dvt_texts_at")
      import :: c_ptr, c_int64_t
      type(c_ptr), value :: texts
      integer(c_int64_t), value :: index
      type(c_ptr) :: text
    end function c_texts_at
    function c_texts_close(texts) result(status) bind(C, name="dvt_texts_close")
      import :: c_ptr, c_int
      type(c_ptr), value :: texts
      integer(c_int) :: status
    end function c_texts_close
  end interface

contains

  !> What went wrong last, as a sentence.
  function dvt_last_error() result(sentence)
    character(:), allocatable :: sentence
    sentence = of_c(c_last_error())
  end function dvt_last_error

  !> "timeout" for dvt_timeout, and so on.
  function dvt_status_name(status) result(name)
    integer, intent(in) :: status
    character(:), allocatable :: name
    name = of_c(c_status_name(int(status, c_int)))
  end function dvt_status_name

  function dvt_version() result(version)
    character(:), allocatable :: version
    version = of_c(c_version())
  end function dvt_version

  !> Hands a status to the caller, or ends the program with the sentence if nobody asked for it.
  subroutine settle(status, stat, errmsg)
    integer(c_int), intent(in) :: status
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: sentence
    type(c_ptr) :: own

    if (present(stat)) stat = int(status)
    if (status >= 0) return
    own = c_complaint()
    if (c_associated(own)) then
      sentence = of_c(own)
    else
      sentence = of_c(c_last_error())
    end if
    if (present(errmsg)) errmsg = sentence
    if (.not. present(stat)) error stop 'dovetail: ' // sentence
  end subroutine settle

  !> Closing what is closed is harmless; its handle is kept, so that whoever uses it hears why.
  pure function once(status)
    integer(c_int), intent(in) :: status
    integer(c_int) :: once
    once = merge(int(dvt_ok, c_int), status, status == dvt_closed)
  end function once

  !> Text for C: without trailing blanks, and with its end marked.
  pure function in_c(text) result(marked)
    character(*), intent(in) :: text
    character(len_trim(text) + 1, kind=c_char) :: marked
    marked = trim(text) // c_null_char
  end function in_c

  pure function flag(given)
    logical, intent(in), optional :: given
    integer(c_int) :: flag
    flag = 0
    if (present(given)) flag = merge(1_c_int, 0_c_int, given)
  end function flag

  !> Of known length: gfortran keeps that of a deferred one where all threads share it.
  function of_c(text) result(copy)
    type(c_ptr), intent(in) :: text
    character(length_in_c(text)) :: copy
    character(kind=c_char), pointer :: letters(:)
    integer :: i

    if (len(copy) == 0) return
    call c_f_pointer(text, letters, [len(copy)])
    do i = 1, len(copy)
      copy(i:i) = letters(i)
    end do
  end function of_c

  pure function length_in_c(text) result(length)
    type(c_ptr), intent(in) :: text
    integer :: length

    length = 0
    if (c_associated(text)) length = int(c_strlen(text))
  end function length_in_c

  !> The texts of a list, filled up with blanks to the length of the longest; the list is closed.
  subroutine lines_of(texts, lines)
    type(c_ptr), intent(in) :: texts
    character(:), allocatable, intent(out) :: lines(:)
    integer(c_int64_t) :: i, count
    integer(c_int) :: ignored
    integer :: longest

    count = c_texts_count(texts)
    longest = 0
    do i = 0, count - 1
      longest = max(longest, int(c_strlen(c_texts_at(texts, i))))
    end do
    allocate (character(longest) :: lines(count))
    do i = 0, count - 1
      lines(i + 1) = of_c(c_texts_at(texts, i))
    end do
    ignored = c_texts_close(texts)
  end subroutine lines_of

end module dovetail_status
