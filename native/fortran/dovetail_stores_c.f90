!> The calls of dovetail.h, as Fortran sees them: stores.
module dovetail_stores_c
  use, intrinsic :: iso_c_binding
  use dovetail_arrays, only: array_c, described
  implicit none
  public

  !> Of this handle: puts, gets, bytes and times. Of the store: blocks, bytes held, capacity.
  type, bind(C) :: dvt_store_statistics
    integer(c_int64_t) :: puts = 0, gets = 0, bytes_put = 0, bytes_got = 0
    real(c_double) :: seconds_put = 0, seconds_got = 0, seconds_waited = 0
    integer(c_int64_t) :: blocks_recycled = 0, bytes_held = 0, capacity = 0
  end type dvt_store_statistics

  interface
    function c_store_open(url, timeout, store) result(status) bind(C, name="dvt_store_open_within")
      import :: c_int, c_char, c_double, c_ptr
      character(kind=c_char), intent(in) :: url(*)
      real(c_double), value :: timeout
      type(c_ptr), intent(inout) :: store
      integer(c_int) :: status
    end function c_store_open
    function c_store_scope(store, prefix, scope) result(status) bind(C, name="dvt_store_scope")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: prefix(*)
      type(c_ptr), intent(inout) :: scope
      integer(c_int) :: status
    end function c_store_scope
    function c_store_close(store) result(status) bind(C, name="dvt_store_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: store
      integer(c_int) :: status
    end function c_store_close
    function c_store_url(store, url) result(status) bind(C, name="dvt_store_url")
      import :: c_int, c_ptr
      type(c_ptr), value :: store
      type(c_ptr), intent(inout) :: url
      integer(c_int) :: status
    end function c_store_url
    function c_store_path(store, path) result(status) bind(C, name="dvt_store_path")
      import :: c_int, c_ptr
      type(c_ptr), value :: store
      type(c_ptr), intent(inout) :: path
      integer(c_int) :: status
    end function c_store_path
    function c_put(store, key, arrays, count, attrs, version) &
      result(status) bind(C, name="dvtf_put")
      import :: c_int, c_ptr, c_char, described
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      type(described), intent(in), target :: arrays(*)
      integer(c_int), value :: count
      character(kind=c_char), intent(in), optional :: attrs(*)
      character(kind=c_char), intent(inout) :: version(*)
      integer(c_int) :: status
    end function c_put
    function c_reserve(store, key, arrays, count, attrs, room) &
      result(status) bind(C, name="dvtf_reserve")
      import :: c_int, c_ptr, c_char, described
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      type(described), intent(in), target :: arrays(*)
      integer(c_int), value :: count
      character(kind=c_char), intent(in), optional :: attrs(*)
      type(c_ptr), intent(inout) :: room
      integer(c_int) :: status
    end function c_reserve
    function c_reservation_array(room, name, array) &
      result(status) bind(C, name="dvt_reservation_array")
      import :: c_int, c_ptr, c_char, array_c
      type(c_ptr), value :: room
      character(kind=c_char), intent(in) :: name(*)
      type(array_c), intent(inout) :: array
      integer(c_int) :: status
    end function c_reservation_array
    function c_reservation_commit(room, written_to, version) &
      result(status) bind(C, name="dvt_reservation_commit")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: room
      integer(c_int), value :: written_to
      character(kind=c_char), intent(inout) :: version(*)
      integer(c_int) :: status
    end function c_reservation_commit
    function c_reservation_close(room) result(status) bind(C, name="dvt_reservation_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: room
      integer(c_int) :: status
    end function c_reservation_close
    function c_store_get(store, key, found) result(status) bind(C, name="dvt_store_get")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      type(c_ptr), intent(inout) :: found
      integer(c_int) :: status
    end function c_store_get
    function c_store_wait(store, key, timeout, newer_than, found) &
      result(status) bind(C, name="dvt_store_wait")
      import :: c_int, c_ptr, c_char, c_double
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      real(c_double), value :: timeout
      character(kind=c_char), intent(in), optional :: newer_than(*)
      type(c_ptr), intent(inout) :: found
      integer(c_int) :: status
    end function c_store_wait
    function c_store_stat(store, key, found) result(status) bind(C, name="dvt_store_stat")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      type(c_ptr), intent(inout) :: found
      integer(c_int) :: status
    end function c_store_stat
    function c_value_count(held, count) result(status) bind(C, name="dvt_value_count")
      import :: c_int, c_ptr
      type(c_ptr), value :: held
      integer(c_int), intent(inout) :: count
      integer(c_int) :: status
    end function c_value_count
    function c_value_array(held, index, array) result(status) bind(C, name="dvt_value_array")
      import :: c_int, c_ptr, array_c
      type(c_ptr), value :: held
      integer(c_int), value :: index
      type(array_c), intent(inout) :: array
      integer(c_int) :: status
    end function c_value_array
    function c_value_find(held, name, array) result(status) bind(C, name="dvt_value_find")
      import :: c_int, c_ptr, c_char, array_c
      type(c_ptr), value :: held
      character(kind=c_char), intent(in), optional :: name(*)
      type(array_c), intent(inout) :: array
      integer(c_int) :: status
    end function c_value_find
    function c_value_read(held, into) result(status) bind(C, name="dvt_value_read")
      import :: c_int, c_ptr, described
      type(c_ptr), value :: held
      type(described), intent(in), target :: into
      integer(c_int) :: status
    end function c_value_read
    function c_value_attrs(held, json) result(status) bind(C, name="dvt_value_attrs")
      import :: c_int, c_ptr
      type(c_ptr), value :: held
      type(c_ptr), intent(inout) :: json
      integer(c_int) :: status
    end function c_value_attrs
    function c_value_version(held, version) result(status) bind(C, name="dvt_value_version")
      import :: c_int, c_ptr
      type(c_ptr), value :: held
      type(c_ptr), intent(inout) :: version
      integer(c_int) :: status
    end function c_value_version
    function c_value_nbytes(held, nbytes) result(status) bind(C, name="dvt_value_nbytes")
      import :: c_int, c_ptr, c_int64_t
      type(c_ptr), value :: held
      integer(c_int64_t), intent(inout) :: nbytes
      integer(c_int) :: status
    end function c_value_nbytes
    function c_value_time(held, seconds) result(status) bind(C, name="dvt_value_time")
      import :: c_int, c_ptr, c_double
      type(c_ptr), value :: held
      real(c_double), intent(inout) :: seconds
      integer(c_int) :: status
    end function c_value_time
    function c_value_close(held) result(status) bind(C, name="dvt_value_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: held
      integer(c_int) :: status
    end function c_value_close
    function c_store_exists(store, key, exists) result(status) bind(C, name="dvt_store_exists")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      integer(c_int), intent(inout) :: exists
      integer(c_int) :: status
    end function c_store_exists
    function c_store_delete(store, key) result(status) bind(C, name="dvt_store_delete")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      integer(c_int) :: status
    end function c_store_delete
    function c_store_rename(store, key, new_key) result(status) bind(C, name="dvt_store_rename")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: key(*)
      character(kind=c_char), intent(in) :: new_key(*)
      integer(c_int) :: status
    end function c_store_rename
    function c_store_keys(store, prefix, keys) result(status) bind(C, name="dvt_store_keys")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: prefix(*)
      type(c_ptr), intent(inout) :: keys
      integer(c_int) :: status
    end function c_store_keys
    function c_store_append(store, list, key, position) &
      result(status) bind(C, name="dvt_store_append")
      import :: c_int, c_ptr, c_char, c_int64_t
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: list(*)
      character(kind=c_char), intent(in) :: key(*)
      integer(c_int64_t), intent(inout) :: position
      integer(c_int) :: status
    end function c_store_append
    function c_store_items(store, list, start, items) result(status) bind(C, name="dvt_store_items")
      import :: c_int, c_ptr, c_char, c_int64_t
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: list(*)
      integer(c_int64_t), value :: start
      type(c_ptr), intent(inout) :: items
      integer(c_int) :: status
    end function c_store_items
    function c_store_wait_items(store, list, count, start, timeout, items) &
      result(status) bind(C, name="dvt_store_wait_items")
      import :: c_int, c_ptr, c_char, c_int64_t, c_double
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: list(*)
      integer(c_int64_t), value :: count
      integer(c_int64_t), value :: start
      real(c_double), value :: timeout
      type(c_ptr), intent(inout) :: items
      integer(c_int) :: status
    end function c_store_wait_items
    function c_store_remove_list(store, list) result(status) bind(C, name="dvt_store_remove_list")
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: store
      character(kind=c_char), intent(in) :: list(*)
      integer(c_int) :: status
    end function c_store_remove_list
    function c_store_get_statistics(store, statistics) &
      result(status) bind(C, name="dvt_store_get_statistics")
      import :: c_int, c_ptr, dvt_store_statistics
      type(c_ptr), value :: store
      type(dvt_store_statistics), intent(inout) :: statistics
      integer(c_int) :: status
    end function c_store_get_statistics
    function c_store_flush(store) result(status) bind(C, name="dvt_store_flush")
      import :: c_int, c_ptr
      type(c_ptr), value :: store
      integer(c_int) :: status
    end function c_store_flush
    function c_store_destroy(store) result(status) bind(C, name="dvt_store_destroy")
      import :: c_int, c_ptr
      type(c_ptr), value :: store
      integer(c_int) :: status
    end function c_store_destroy
  end interface

end module dovetail_stores_c
