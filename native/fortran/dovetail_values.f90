!> Values in hand, and room for values to be filled in place.
module dovetail_values
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  use dovetail_stores_c
  implicit none
  private

  public :: dvt_value, dvt_reservation
  public :: version_bytes, text_in, release

  integer, parameter :: version_bytes = 64

  !> A value in hand: a lease on its bytes, which never change. To be closed.
  type, extends(arrays_in_hand) :: dvt_value
    type(c_ptr) :: handle = c_null_ptr  !< the library's; for the modules of this one only
  contains
    procedure :: find => value_find
    procedure :: read => value_read
    procedure :: count => value_count
    procedure :: describe => value_describe
    procedure :: attrs => value_attrs
    procedure :: version => value_version
    procedure :: nbytes => value_nbytes
    procedure :: time => value_time
    procedure :: close => value_close
  end type dvt_value

  !> Room for a value, to be filled in place: declare - reserve - view - commit - close.
  type, extends(arrays_in_hand) :: dvt_reservation
    type(c_ptr) :: handle = c_null_ptr  !< for the modules of this one only, as what follows
    type(described), allocatable :: declared(:)
    character(kind=c_char), allocatable :: names(:, :)
  contains
    procedure :: declare => reservation_declare
    procedure :: find => reservation_find
    procedure :: commit => reservation_commit
    procedure :: close => reservation_close
  end type dvt_reservation

contains

  !> The array of a name; "value" is that of a bare array.
  function value_find(self, name, start, count, array) result(status)
    class(dvt_value), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(in), optional :: start(..), count(..)
    type(array_c), intent(out) :: array
    integer(c_int) :: status
    status = c_no_selection(in_c(name), start, count)
    if (status >= 0) status = c_value_find(self%handle, in_c(name), array)
  end function value_find

  !> Copies an array of exactly this name, dtype and shape into the caller's, in whatever order it
  !> was stored.
  subroutine value_read(self, name, array, dtype, stat, errmsg)
    class(dvt_value), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(inout) :: array(..)
    integer, intent(in), optional :: dtype
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: into
    character(kind=c_char), target :: name_c(len(name) + 1)
    integer(c_int) :: status

    call mark(name_c, name)
    status = describe(into, name_c, array, dtype)
    if (status >= 0) status = c_value_read(self%handle, into)
    call settle(status, stat, errmsg)
  end subroutine value_read

  !> How many arrays there are.
  function value_count(self, stat, errmsg) result(count)
    class(dvt_value), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer :: count
    integer(c_int) :: number
    number = 0
    call settle(c_value_count(self%handle, number), stat, errmsg)
    count = int(number)
  end function value_count

  !> Name, dtype and extents of array `index`, which counts from 1.
  subroutine value_describe(self, index, name, dtype, shape, stat, errmsg)
    class(dvt_value), intent(in) :: self
    integer, intent(in) :: index
    character(:), allocatable, intent(out) :: name
    integer, intent(out) :: dtype
    integer(c_int64_t), allocatable, intent(out) :: shape(:)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(array_c) :: array
    call settle(c_value_array(self%handle, int(index - 1, c_int), array), stat, errmsg)
    call tell(array, name, dtype, shape)
  end subroutine value_describe

  !> The attributes, as a JSON object; "{}" for none.
  function value_attrs(self, stat, errmsg) result(json)
    class(dvt_value), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: json
    type(c_ptr) :: text
    text = c_null_ptr
    call settle(c_value_attrs(self%handle, text), stat, errmsg)
    json = of_c(text)
  end function value_attrs

  !> The token of this version, for wait.
  function value_version(self, stat, errmsg) result(version)
    class(dvt_value), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: version
    type(c_ptr) :: text
    text = c_null_ptr
    call settle(c_value_version(self%handle, text), stat, errmsg)
    version = of_c(text)
  end function value_version

  !> Bytes of the value, header included.
  function value_nbytes(self, stat, errmsg) result(nbytes)
    class(dvt_value), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: nbytes
    nbytes = 0
    call settle(c_value_nbytes(self%handle, nbytes), stat, errmsg)
  end function value_nbytes

  !> When it was published, in seconds since the epoch.
  function value_time(self, stat, errmsg) result(seconds)
    class(dvt_value), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    real(c_double) :: seconds
    seconds = 0
    call settle(c_value_time(self%handle, seconds), stat, errmsg)
  end function value_time

  !> Pointers to its arrays end here.
  subroutine value_close(self, stat, errmsg)
    class(dvt_value), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_value_close(self%handle)), stat, errmsg)
  end subroutine value_close

  !> Names an array that there is to be room for, before the store reserves it.
  subroutine reservation_declare(self, name, dtype, shape, stat, errmsg)
    class(dvt_reservation), intent(inout) :: self
    character(*), intent(in) :: name
    integer, intent(in) :: dtype
    type(*), intent(in) :: shape(..)  !< rank 1; of no element for a number
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), allocatable :: more(:)
    type(described), target :: one
    character(kind=c_char), target :: name_c(len(name) + 1)
    character(kind=c_char), allocatable :: names(:, :)
    integer(c_int) :: status
    integer :: count, longest

    call mark(name_c, name)
    status = c_extents(one, name_c, int(dtype, c_int), -1_c_int, shape)
    if (status >= 0) then
      count = 0
      longest = size(name_c)
      if (allocated(self%declared)) then
        count = size(self%declared)
        longest = max(longest, size(self%names, 1))
      end if
      allocate (more(count + 1))
      if (count > 0) more(:count) = self%declared
      more(count + 1) = one
      call move_alloc(more, self%declared)
      allocate (names(longest, count + 1))
      names = c_null_char
      if (count > 0) names(:size(self%names, 1), :count) = self%names
      names(:size(name_c), count + 1) = name_c
      call move_alloc(names, self%names)
    end if
    call settle(status, stat, errmsg)
  end subroutine reservation_declare

  function reservation_find(self, name, start, count, array) result(status)
    class(dvt_reservation), intent(in) :: self
    character(*), intent(in) :: name
    type(*), intent(in), optional :: start(..), count(..)
    type(array_c), intent(out) :: array
    integer(c_int) :: status
    status = c_no_selection(in_c(name), start, count)
    if (status >= 0) status = c_reservation_array(self%handle, in_c(name), array)
  end function reservation_find

  !> Publishes what was filled in: no copy. From now on its arrays are for reading only. With
  !> `written_to`, who still writes there writes to a memory of its own and harms nobody; that
  !> costs a mapping.
  subroutine reservation_commit(self, version, written_to, stat, errmsg)
    class(dvt_reservation), intent(inout) :: self
    character(:), allocatable, intent(out), optional :: version
    logical, intent(in), optional :: written_to
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(kind=c_char) :: token(version_bytes)
    token = c_null_char
    call settle(c_reservation_commit(self%handle, flag(written_to), token), stat, errmsg)
    if (present(version)) version = text_in(token)
  end subroutine reservation_commit

  !> Not committed: given up. What was declared is forgotten.
  subroutine reservation_close(self, stat, errmsg)
    class(dvt_reservation), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_reservation_close(self%handle)), stat, errmsg)
    if (allocated(self%declared)) deallocate (self%declared, self%names)
  end subroutine reservation_close

  !> Closes what is held, if anything is; whoever closed it already has done no harm.
  subroutine release(held)
    type(dvt_value), intent(inout) :: held
    integer(c_int) :: ignored
    ignored = c_value_close(held%handle)
    held%handle = c_null_ptr
  end subroutine release

  pure function text_in(token) result(text)
    character(kind=c_char), intent(in) :: token(:)
    character(:), allocatable :: text
    integer :: i
    text = ''
    do i = 1, size(token)
      if (token(i) == c_null_char) exit
      text = text // token(i)
    end do
  end function text_in

end module dovetail_values
