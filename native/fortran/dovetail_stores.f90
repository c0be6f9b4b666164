!> Stores: keyed values that can be read again.
!>
!>   open - put, get, wait ... - close
module dovetail_stores
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  use dovetail_stores_c
  use dovetail_values
  implicit none
  private

  public :: dvt_store

  real(c_double), parameter, public :: dvt_for_ever = -1  !< a deadline that is none

  real(c_double), parameter :: usual_timeout = 60

  type :: dvt_store
    type(c_ptr) :: handle = c_null_ptr  !< the library's; for the modules of this one only
  contains
    procedure :: open => store_open
    procedure :: scope => store_scope
    procedure :: close => store_close
    procedure :: url => store_url
    procedure :: path => store_path
    procedure :: put => store_put
    procedure :: put_fields => store_put_fields
    procedure :: reserve => store_reserve
    procedure :: get => store_get
    procedure :: get_array => store_get_array
    procedure :: wait => store_wait
    procedure :: stat => store_stat
    procedure :: exists => store_exists
    procedure :: delete => store_delete
    procedure :: rename => store_rename
    procedure :: keys => store_keys
    procedure :: append => store_append
    procedure :: items => store_items
    procedure :: wait_items => store_wait_items
    procedure :: remove_list => store_remove_list
    procedure :: statistics => store_statistics
    procedure :: flush => store_flush
    procedure :: destroy => store_destroy
  end type dvt_store

contains

  ! --- the store --------------------------------------------------------------------------------

  !> "shm://name", "file:///folder", "redis://host:port/name", or a bare name that the environment
  !> resolves. `timeout`: seconds for reaching a server, and for which it may be silent or gone.
  subroutine store_open(self, url, stat, errmsg, timeout)
    class(dvt_store), intent(inout) :: self
    character(*), intent(in) :: url
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    real(c_double), intent(in), optional :: timeout
    integer(c_int) :: ignored
    real(c_double) :: within

    ignored = c_store_close(self%handle)
    self%handle = c_null_ptr
    within = usual_timeout
    if (present(timeout)) within = timeout
    call settle(c_store_open(in_c(url), within, self%handle), stat, errmsg)
  end subroutine store_open

  !> A view in which every key and list name begins with `prefix`.
  subroutine store_scope(self, prefix, scope, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: prefix
    type(dvt_store), intent(inout) :: scope
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int) :: ignored
    ignored = c_store_close(scope%handle)
    scope%handle = c_null_ptr
    call settle(c_store_scope(self%handle, in_c(prefix), scope%handle), stat, errmsg)
  end subroutine store_scope

  !> Values in hand stay valid.
  subroutine store_close(self, stat, errmsg)
    class(dvt_store), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(once(c_store_close(self%handle)), stat, errmsg)
  end subroutine store_close

  function store_url(self, stat, errmsg) result(url)
    class(dvt_store), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: url
    type(c_ptr) :: text
    text = c_null_ptr
    call settle(c_store_url(self%handle, text), stat, errmsg)
    url = of_c(text)
  end function store_url

  !> The folder of the values.
  function store_path(self, stat, errmsg) result(path)
    class(dvt_store), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    character(:), allocatable :: path
    type(c_ptr) :: text
    text = c_null_ptr
    call settle(c_store_path(self%handle, text), stat, errmsg)
    path = of_c(text)
  end function store_path

  !> Publishes one array under a key, replacing what was there. `attrs` is a JSON object as text.
  !> `name` is "value" if it is not given; `dtype` says what the bits of integers are.
  subroutine store_put(self, key, array, attrs, name, dtype, version, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(*), intent(in) :: array(..)
    character(*), intent(in), optional :: attrs, name
    integer, intent(in), optional :: dtype
    character(:), allocatable, intent(out), optional :: version
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    ! Not handed through: gfortran 12 loses the length of optional text on its way.
    character(:), allocatable :: token

    if (present(name)) then
      call store_put_fields(self, key, name, array, attrs=attrs, dtype=dtype, version=token, &
        stat=stat, errmsg=errmsg)
    else
      call store_put_fields(self, key, 'value', array, attrs=attrs, dtype=dtype, version=token, &
        stat=stat, errmsg=errmsg)
    end if
    if (present(version)) version = token
  end subroutine store_put

  !> Publishes up to eight named arrays at once: call store%put_fields(key, "u", u, "v", v).
  !> For more of them: reserve.
  subroutine store_put_fields(self, key, name1, array1, name2, array2, name3, array3, name4, &
    array4, name5, array5, name6, array6, name7, array7, name8, array8, attrs, dtype, version, &
    stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key, name1
    type(*), intent(in) :: array1(..)
    character(*), intent(in), optional :: name2, name3, name4, name5, name6, name7, name8
    type(*), intent(in), optional :: array2(..), array3(..), array4(..), array5(..), array6(..), &
      array7(..), array8(..)
    character(*), intent(in), optional :: attrs
    integer, intent(in), optional :: dtype  !< of array1
    character(:), allocatable, intent(out), optional :: version
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: all(8)
    character(kind=c_char), allocatable, target :: name_c(:, :)
    character(kind=c_char) :: token(version_bytes)
    integer(c_int) :: status
    integer :: count

    allocate (name_c(max(len(name1), length(name2), length(name3), length(name4), length(name5), &
      length(name6), length(name7), length(name8)) + 1, 8))
    count = 1
    call mark(name_c(:, 1), name1)
    status = describe(all(1), name_c(:, 1), array1, dtype)
    call add(name2, array2)
    call add(name3, array3)
    call add(name4, array4)
    call add(name5, array5)
    call add(name6, array6)
    call add(name7, array7)
    call add(name8, array8)
    token = c_null_char
    if (status >= 0) status = put_described()
    call settle(status, stat, errmsg)
    if (present(version)) version = text_in(token)

  contains

    subroutine add(name, array)
      character(*), intent(in), optional :: name
      type(*), intent(in), optional :: array(..)
      if (status < 0 .or. .not. (present(name) .and. present(array))) return
      count = count + 1
      call mark(name_c(:, count), name)
      status = describe(all(count), name_c(:, count), array)
    end subroutine add

    function put_described() result(done)
      integer(c_int) :: done
      if (present(attrs)) then
        done = c_put(self%handle, in_c(key), all, int(count, c_int), in_c(attrs), token)
      else
        done = c_put(self%handle, in_c(key), all, int(count, c_int), version=token)
      end if
    end function put_described

  end subroutine store_put_fields

  !> Room for the arrays that `room` declares; it is published by room%commit.
  subroutine store_reserve(self, key, room, attrs, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(dvt_reservation), intent(inout), target :: room
    character(*), intent(in), optional :: attrs
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int) :: status, count
    integer :: i

    if (.not. allocated(room%declared)) allocate (room%declared(0), room%names(1, 0))
    count = size(room%declared)
    do i = 1, count
      room%declared(i)%array%name = c_loc(room%names(1, i))
    end do
    if (present(attrs)) then
      status = c_reserve(self%handle, in_c(key), room%declared, count, in_c(attrs), room%handle)
    else
      status = c_reserve(self%handle, in_c(key), room%declared, count, room=room%handle)
    end if
    call settle(status, stat, errmsg)
  end subroutine store_reserve

  subroutine store_get(self, key, held, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(dvt_value), intent(inout) :: held
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call release(held)
    call settle(c_store_get(self%handle, in_c(key), held%handle), stat, errmsg)
  end subroutine store_get

  !> Copies the one array of a value.
  subroutine store_get_array(self, key, array, dtype, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(*), intent(inout) :: array(..)
    integer, intent(in), optional :: dtype
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(described), target :: into
    character(kind=c_char), target :: name_c(6)
    type(c_ptr) :: held
    integer(c_int) :: status, ignored

    call mark(name_c, 'value')
    status = describe(into, name_c, array, dtype)
    into%array%name = c_null_ptr
    held = c_null_ptr
    if (status >= 0) status = c_store_get(self%handle, in_c(key), held)
    if (status >= 0) status = c_value_read(held, into)
    call settle(status, stat, errmsg)
    ignored = c_value_close(held)
  end subroutine store_get_array

  !> Waits until the key exists or, with `newer_than`, holds another version than that.
  subroutine store_wait(self, key, held, timeout, newer_than, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(dvt_value), intent(inout) :: held
    real(c_double), intent(in) :: timeout  !< seconds; dvt_for_ever is none
    character(*), intent(in), optional :: newer_than
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int) :: status

    call release(held)
    if (present(newer_than)) then
      status = c_store_wait(self%handle, in_c(key), timeout, in_c(newer_than), held%handle)
    else
      status = c_store_wait(self%handle, in_c(key), timeout, found=held%handle)
    end if
    call settle(status, stat, errmsg)
  end subroutine store_wait

  !> What is stored under a key, without its data.
  subroutine store_stat(self, key, held, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    type(dvt_value), intent(inout) :: held
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call release(held)
    call settle(c_store_stat(self%handle, in_c(key), held%handle), stat, errmsg)
  end subroutine store_stat

  function store_exists(self, key, stat, errmsg) result(exists)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: exists
    integer(c_int) :: answer
    answer = 0
    call settle(c_store_exists(self%handle, in_c(key), answer), stat, errmsg)
    exists = answer /= 0
  end function store_exists

  subroutine store_delete(self, key, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_store_delete(self%handle, in_c(key)), stat, errmsg)
  end subroutine store_delete

  subroutine store_rename(self, key, new_key, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: key, new_key
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_store_rename(self%handle, in_c(key), in_c(new_key)), stat, errmsg)
  end subroutine store_rename

  !> Keys that begin with `prefix`, sorted.
  subroutine store_keys(self, prefix, keys, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: prefix
    character(:), allocatable, intent(out) :: keys(:)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(c_ptr) :: texts
    texts = c_null_ptr
    call settle(c_store_keys(self%handle, in_c(prefix), texts), stat, errmsg)
    call lines_of(texts, keys)
  end subroutine store_keys

  !> Lists: many producers append, each item is kept once, in order of arrival.
  subroutine store_append(self, list, key, position, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: list, key
    integer(c_int64_t), intent(out), optional :: position  !< from 0
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: place
    place = -1
    call settle(c_store_append(self%handle, in_c(list), in_c(key), place), stat, errmsg)
    if (present(position)) position = place
  end subroutine store_append

  !> The items of a list from number `start` on, which counts from 0.
  subroutine store_items(self, list, start, items, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: list
    integer, intent(in) :: start
    character(:), allocatable, intent(out) :: items(:)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(c_ptr) :: texts
    texts = c_null_ptr
    call settle(c_store_items(self%handle, in_c(list), int(start, c_int64_t), texts), stat, errmsg)
    call lines_of(texts, items)
  end subroutine store_items

  !> Waits until `count` items from number `start` on are there.
  subroutine store_wait_items(self, list, count, start, timeout, items, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: list
    integer, intent(in) :: count, start
    real(c_double), intent(in) :: timeout
    character(:), allocatable, intent(out) :: items(:)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(c_ptr) :: texts
    texts = c_null_ptr
    call settle(c_store_wait_items(self%handle, in_c(list), int(count, c_int64_t), &
      int(start, c_int64_t), timeout, texts), stat, errmsg)
    call lines_of(texts, items)
  end subroutine store_wait_items

  subroutine store_remove_list(self, list, stat, errmsg)
    class(dvt_store), intent(in) :: self
    character(*), intent(in) :: list
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_store_remove_list(self%handle, in_c(list)), stat, errmsg)
  end subroutine store_remove_list

  function store_statistics(self, stat, errmsg) result(numbers)
    class(dvt_store), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_store_statistics) :: numbers
    call settle(c_store_get_statistics(self%handle, numbers), stat, errmsg)
  end function store_statistics

  !> What was put outlives a crash of the machine.
  subroutine store_flush(self, stat, errmsg)
    class(dvt_store), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_store_flush(self%handle), stat, errmsg)
  end subroutine store_flush

  !> Removes all that is ours, and closes.
  subroutine store_destroy(self, stat, errmsg)
    class(dvt_store), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_store_destroy(self%handle), stat, errmsg)
  end subroutine store_destroy

end module dovetail_stores
