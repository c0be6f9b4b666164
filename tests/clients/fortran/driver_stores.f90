!> The functions of abi.py for stores: each goes through what a Fortran program would call.
module driver_stores
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  implicit none
  private

  type :: texts
    character(:), allocatable :: lines(:)
  end type texts

contains

  function opened(handle) result(store)
    type(c_ptr), intent(in) :: handle
    type(dvt_store), pointer :: store
    call c_f_pointer(handle, store)
  end function opened

  function store_open(url, handle) result(status) bind(C, name="fortran_store_open")
    type(c_ptr), value :: url
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    allocate (store)
    call store%open(text_of(url), stat=stat, errmsg=said)
    status = kept_open(store, stat, said, handle)
  end function store_open

  function store_open_within(url, timeout, handle) result(status) &
    bind(C, name="fortran_store_open_within")
    type(c_ptr), value :: url
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    allocate (store)
    call store%open(text_of(url), timeout=timeout, stat=stat, errmsg=said)
    status = kept_open(store, stat, said, handle)
  end function store_open_within

  function kept_open(store, stat, said, handle) result(status)
    type(dvt_store), pointer, intent(inout) :: store
    integer, intent(in) :: stat
    character(*), intent(in) :: said
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    status = told(stat, said)
    if (stat < 0) deallocate (store)
    if (stat >= 0) handle = c_loc(store)
  end function kept_open

  function store_scope(handle, prefix, scoped) result(status) bind(C, name="fortran_store_scope")
    type(c_ptr), value :: handle, prefix
    type(c_ptr), intent(inout) :: scoped
    integer(c_int) :: status
    type(dvt_store), pointer :: store, scope
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (scope)
    call store%scope(text_of(prefix), scope, stat=stat, errmsg=said)
    status = told(stat, said)
    if (stat < 0) deallocate (scope)
    if (stat >= 0) scoped = c_loc(scope)
  end function store_scope

  ! What is closed may be asked once more, to hear that it is closed: it stays.
  function store_close(handle) result(status) bind(C, name="fortran_store_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%close(stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_close

  function store_url(handle, url) result(status) bind(C, name="fortran_store_url")
    type(c_ptr), value :: handle
    type(c_ptr), intent(inout) :: url
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    url = kept(store%url(stat=stat, errmsg=said))
    status = told(stat, said)
  end function store_url

  function store_path(handle, path) result(status) bind(C, name="fortran_store_path")
    type(c_ptr), value :: handle
    type(c_ptr), intent(inout) :: path
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    path = kept(store%path(stat=stat, errmsg=said))
    status = told(stat, said)
  end function store_path

  function store_put(handle, key, name, array, dtype, attrs, version) result(status) &
    bind(C, name="driver_store_put")
    type(c_ptr), value :: handle, key, name, attrs, version
    type(*), intent(in) :: array(..)
    integer(c_int), value :: dtype
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    character(:), allocatable :: json, token
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call take(attrs, json)
    call store%put(text_of(key), array, attrs=json, name=text_of(name), dtype=int(dtype), &
      version=token, stat=stat, errmsg=said)
    call give(token, version)
    status = told(stat, said)
  end function store_put

  !> Those that there are not are NULL.
  function store_put_fields(handle, key, names, a1, a2, a3, a4, a5, a6, a7, a8, attrs, version) &
    result(status) bind(C, name="driver_store_put_fields")
    type(c_ptr), value :: handle, key, attrs, version
    type(c_ptr), intent(in) :: names(8)
    type(*), intent(in) :: a1(..)
    type(*), intent(in), optional :: a2(..), a3(..), a4(..), a5(..), a6(..), a7(..), a8(..)
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    character(:), allocatable :: json, token
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call take(attrs, json)
    call store%put_fields(text_of(key), text_of(names(1)), a1, text_of(names(2)), a2, &
      text_of(names(3)), a3, text_of(names(4)), a4, text_of(names(5)), a5, text_of(names(6)), a6, &
      text_of(names(7)), a7, text_of(names(8)), a8, attrs=json, version=token, stat=stat, &
      errmsg=said)
    call give(token, version)
    status = told(stat, said)
  end function store_put_fields

  function value_get(handle, key, held) result(status) bind(C, name="fortran_store_get")
    type(c_ptr), value :: handle, key
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(dvt_value), pointer :: found
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call store%get(text_of(key), found, stat=stat, errmsg=said)
    status = in_hand(found, stat, said, held)
  end function value_get

  function value_wait(handle, key, timeout, newer_than, held) result(status) &
    bind(C, name="fortran_store_wait")
    type(c_ptr), value :: handle, key, newer_than
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(dvt_value), pointer :: found
    character(:), allocatable :: seen
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call take(newer_than, seen)
    call store%wait(text_of(key), found, timeout, seen, stat=stat, errmsg=said)
    status = in_hand(found, stat, said, held)
  end function value_wait

  function value_stat(handle, key, held) result(status) bind(C, name="fortran_store_stat")
    type(c_ptr), value :: handle, key
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(dvt_value), pointer :: found
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call store%stat(text_of(key), found, stat=stat, errmsg=said)
    status = in_hand(found, stat, said, held)
  end function value_stat

  function in_hand(found, stat, said, held) result(status)
    type(dvt_value), pointer, intent(inout) :: found
    integer, intent(in) :: stat
    character(*), intent(in) :: said
    type(c_ptr), intent(inout) :: held
    integer(c_int) :: status
    if (stat < 0) deallocate (found)
    if (stat >= 0) held = c_loc(found)
    status = told(stat, said)
  end function in_hand

  function store_exists(handle, key, exists) result(status) bind(C, name="fortran_store_exists")
    type(c_ptr), value :: handle, key
    integer(c_int), intent(inout) :: exists
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    exists = merge(1, 0, store%exists(text_of(key), stat=stat, errmsg=said))
    status = told(stat, said)
  end function store_exists

  function store_delete(handle, key) result(status) bind(C, name="fortran_store_delete")
    type(c_ptr), value :: handle, key
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%delete(text_of(key), stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_delete

  function store_rename(handle, key, new_key) result(status) bind(C, name="fortran_store_rename")
    type(c_ptr), value :: handle, key, new_key
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%rename(text_of(key), text_of(new_key), stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_rename

  function store_keys(handle, prefix, keys) result(status) bind(C, name="fortran_store_keys")
    type(c_ptr), value :: handle, prefix
    type(c_ptr), intent(inout) :: keys
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(texts), pointer :: found
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call store%keys(text_of(prefix), found%lines, stat=stat, errmsg=said)
    status = listed(found, stat, said, keys)
  end function store_keys

  function store_append(handle, list, key, position) result(status) &
    bind(C, name="fortran_store_append")
    type(c_ptr), value :: handle, list, key
    integer(c_int64_t), intent(inout) :: position
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%append(text_of(list), text_of(key), position, stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_append

  function store_items(handle, list, start, items) result(status) &
    bind(C, name="fortran_store_items")
    type(c_ptr), value :: handle, list
    integer(c_int64_t), value :: start
    type(c_ptr), intent(inout) :: items
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(texts), pointer :: found
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call store%items(text_of(list), int(start), found%lines, stat=stat, errmsg=said)
    status = listed(found, stat, said, items)
  end function store_items

  function store_wait_items(handle, list, count, start, timeout, items) result(status) &
    bind(C, name="fortran_store_wait_items")
    type(c_ptr), value :: handle, list
    integer(c_int64_t), value :: count, start
    real(c_double), value :: timeout
    type(c_ptr), intent(inout) :: items
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    type(texts), pointer :: found
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    allocate (found)
    call store%wait_items(text_of(list), int(count), int(start), timeout, found%lines, stat=stat, &
      errmsg=said)
    status = listed(found, stat, said, items)
  end function store_wait_items

  function listed(found, stat, said, handle) result(status)
    type(texts), pointer, intent(inout) :: found
    integer, intent(in) :: stat
    character(*), intent(in) :: said
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: status
    if (stat < 0) deallocate (found)
    if (stat >= 0) handle = c_loc(found)
    status = told(stat, said)
  end function listed

  function texts_count(handle) result(count) bind(C, name="fortran_texts_count")
    type(c_ptr), value :: handle
    integer(c_int64_t) :: count
    type(texts), pointer :: found
    call c_f_pointer(handle, found)
    count = size(found%lines)
  end function texts_count

  function texts_at(handle, index) result(text) bind(C, name="fortran_texts_at")
    type(c_ptr), value :: handle
    integer(c_int64_t), value :: index
    type(c_ptr) :: text
    type(texts), pointer :: found
    call c_f_pointer(handle, found)
    text = kept(trim(found%lines(index + 1)))
  end function texts_at

  function texts_close(handle) result(status) bind(C, name="fortran_texts_close")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(texts), pointer :: found
    call c_f_pointer(handle, found)
    deallocate (found)
    status = dvt_ok
  end function texts_close

  function store_remove_list(handle, list) result(status) bind(C, name="fortran_store_remove_list")
    type(c_ptr), value :: handle, list
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%remove_list(text_of(list), stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_remove_list

  function store_get_statistics(handle, numbers) result(status) &
    bind(C, name="fortran_store_get_statistics")
    type(c_ptr), value :: handle
    type(dvt_store_statistics), intent(inout) :: numbers
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    numbers = store%statistics(stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_get_statistics

  function store_flush(handle) result(status) bind(C, name="fortran_store_flush")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%flush(stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_flush

  function store_destroy(handle) result(status) bind(C, name="fortran_store_destroy")
    type(c_ptr), value :: handle
    integer(c_int) :: status
    type(dvt_store), pointer :: store
    integer :: stat
    character(said_length) :: said
    store => opened(handle)
    call store%destroy(stat=stat, errmsg=said)
    status = told(stat, said)
  end function store_destroy

end module driver_stores
