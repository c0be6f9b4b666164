!> The calls of dovetail.h, as Fortran sees them: streams.
module dovetail_streams_c
  use, intrinsic :: iso_c_binding
  use dovetail_arrays, only: array_c, described
  implicit none
  public

  !> Steps and bytes that this end has ended and moved; time it waited, and time in its calls.
  type, bind(C) :: dvt_stream_statistics
    integer(c_int64_t) :: steps = 0, bytes = 0
    real(c_double) :: seconds_waited = 0, seconds_in_calls = 0
    integer(c_int64_t) :: steps_dropped = 0, steps_redelivered = 0
  end type dvt_stream_statistics

  type, bind(C) :: ranks_c
    integer(c_int32_t) :: rank = 0, size = 1
    integer(c_int32_t) :: comm_kind = 0, reserved = 0
    type(c_ptr) :: comm = c_null_ptr
  end type ranks_c

  type, bind(C) :: info_c
    type(c_ptr) :: url = c_null_ptr
    integer(c_int32_t) :: policy = 0, window = 0
    integer(c_int64_t) :: epoch = 0
  end type info_c

  integer, parameter, private :: name_bytes = 64, most_groups = 32

  !> A reader group of a stream, seen from outside.
  type, bind(C) :: dvt_stream_group
    character(kind=c_char) :: name(name_bytes) = c_null_char
    integer(c_int64_t) :: ranks = 0, steps_ended = 0
    integer(c_int32_t) :: state = 0, reserved = 0
  end type dvt_stream_group

  !> A stream from outside. The first `groups_found` of `groups` count.
  type, bind(C) :: dvt_stream_description
    integer(c_int32_t) :: policy = 0, window = 0, state = 0, reserved = 0
    integer(c_int64_t) :: epoch = 0
    integer(c_int64_t) :: ranks = 0, steps_complete = 0, steps_held = 0, bytes_held = 0, capacity = 0
    integer(c_int64_t) :: groups_found = 0
    type(dvt_stream_group) :: groups(most_groups)
  end type dvt_stream_description

  interface
    function c_lease_close(lease) result(status) bind(C, name="dvt_lease_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: lease
      integer(c_int) :: status
    end function c_lease_close
    function c_writer_open(url, policy, window, ranks, timeout, readers, writer) &
      result(status) bind(C, name="dvt_writer_open")
      import :: c_int, c_char, ranks_c, c_double, c_ptr
      character(kind=c_char), intent(in) :: url(*)
      integer(c_int), value :: policy
      integer(c_int), value :: window
      type(ranks_c), intent(in) :: ranks
      real(c_double), value :: timeout
      integer(c_int), value :: readers
      type(c_ptr), intent(inout) :: writer
      integer(c_int) :: status
    end function c_writer_open
    function c_writer_begin(writer, attrs, index) result(status) bind(C, name="dvt_writer_begin")
      import :: c_int, c_ptr, c_char, c_int64_t
      type(c_ptr), value :: writer
      character(kind=c_char), intent(in), optional :: attrs(*)
      integer(c_int64_t), intent(inout) :: index
      integer(c_int) :: status
    end function c_writer_begin
    function c_writer_put(writer, array) result(status) bind(C, name="dvt_writer_put")
      import :: c_int, c_ptr, described
      type(c_ptr), value :: writer
      type(described), intent(in), target :: array
      integer(c_int) :: status
    end function c_writer_put
    function c_writer_empty(writer, array, lease) result(status) bind(C, name="dvt_writer_empty")
      import :: c_int, c_ptr, described
      type(c_ptr), value :: writer
      type(described), intent(inout), target :: array
      type(c_ptr), intent(inout), optional :: lease
      integer(c_int) :: status
    end function c_writer_empty
    function c_writer_end(writer, written_to) result(status) bind(C, name="dvt_writer_end")
      import :: c_int, c_ptr
      type(c_ptr), value :: writer
      integer(c_int), value :: written_to
      integer(c_int) :: status
    end function c_writer_end
    function c_writer_abandon(writer) result(status) bind(C, name="dvt_writer_abandon")
      import :: c_int, c_ptr
      type(c_ptr), value :: writer
      integer(c_int) :: status
    end function c_writer_abandon
    function c_writer_stopped(writer, stopped) result(status) bind(C, name="dvt_writer_stopped")
      import :: c_int, c_ptr
      type(c_ptr), value :: writer
      integer(c_int), intent(inout) :: stopped
      integer(c_int) :: status
    end function c_writer_stopped
    function c_writer_close(writer, failed) result(status) bind(C, name="dvt_writer_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: writer
      integer(c_int), value :: failed
      integer(c_int) :: status
    end function c_writer_close
    function c_reader_open(url, ranks, group, timeout, reader) &
      result(status) bind(C, name="dvt_reader_open")
      import :: c_int, c_char, ranks_c, c_double, c_ptr
      character(kind=c_char), intent(in) :: url(*)
      type(ranks_c), intent(in) :: ranks
      character(kind=c_char), intent(in), optional :: group(*)
      real(c_double), value :: timeout
      type(c_ptr), intent(inout) :: reader
      integer(c_int) :: status
    end function c_reader_open
    function c_reader_next(reader, timeout, step) result(status) bind(C, name="dvt_reader_next")
      import :: c_int, c_ptr, c_double
      type(c_ptr), value :: reader
      real(c_double), value :: timeout
      type(c_ptr), intent(inout) :: step
      integer(c_int) :: status
    end function c_reader_next
    function c_reader_stop(reader) result(status) bind(C, name="dvt_reader_stop")
      import :: c_int, c_ptr
      type(c_ptr), value :: reader
      integer(c_int) :: status
    end function c_reader_stop
    function c_reader_close(reader, failed) result(status) bind(C, name="dvt_reader_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: reader
      integer(c_int), value :: failed
      integer(c_int) :: status
    end function c_reader_close
    function c_step_index(step, index) result(status) bind(C, name="dvt_step_index")
      import :: c_int, c_ptr, c_int64_t
      type(c_ptr), value :: step
      integer(c_int64_t), intent(inout) :: index
      integer(c_int) :: status
    end function c_step_index
    function c_step_time(step, seconds) result(status) bind(C, name="dvt_step_time")
      import :: c_int, c_ptr, c_double
      type(c_ptr), value :: step
      real(c_double), intent(inout) :: seconds
      integer(c_int) :: status
    end function c_step_time
    function c_step_attrs(step, json) result(status) bind(C, name="dvt_step_attrs")
      import :: c_int, c_ptr
      type(c_ptr), value :: step
      type(c_ptr), intent(inout) :: json
      integer(c_int) :: status
    end function c_step_attrs
    function c_step_count(step, count) result(status) bind(C, name="dvt_step_count")
      import :: c_int, c_ptr
      type(c_ptr), value :: step
      integer(c_int), intent(inout) :: count
      integer(c_int) :: status
    end function c_step_count
    function c_step_array(step, index, array) result(status) bind(C, name="dvt_step_array")
      import :: c_int, c_ptr, array_c
      type(c_ptr), value :: step
      integer(c_int), value :: index
      type(array_c), intent(inout) :: array
      integer(c_int) :: status
    end function c_step_array
    function c_step_view(step, name, start, count, array) &
      result(status) bind(C, name="dvt_step_view")
      import :: c_int, c_ptr, c_char, c_int64_t, array_c
      type(c_ptr), value :: step
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), intent(in), optional :: start(*)
      integer(c_int64_t), intent(in), optional :: count(*)
      type(array_c), intent(inout) :: array
      integer(c_int) :: status
    end function c_step_view
    function c_step_read(step, into, start) result(status) bind(C, name="dvt_step_read")
      import :: c_int, c_ptr, described, c_int64_t
      type(c_ptr), value :: step
      type(described), intent(in), target :: into
      integer(c_int64_t), intent(in), optional :: start(*)
      integer(c_int) :: status
    end function c_step_read
    function c_step_end(step) result(status) bind(C, name="dvt_step_end")
      import :: c_int, c_ptr
      type(c_ptr), value :: step
      integer(c_int) :: status
    end function c_step_end
    function c_step_close(step) result(status) bind(C, name="dvt_step_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: step
      integer(c_int) :: status
    end function c_step_close
    function c_tail_open(url, tail) result(status) bind(C, name="dvt_tail_open")
      import :: c_int, c_char, c_ptr
      character(kind=c_char), intent(in) :: url(*)
      type(c_ptr), intent(inout) :: tail
      integer(c_int) :: status
    end function c_tail_open
    function c_tail_next(tail, timeout, step) result(status) bind(C, name="dvt_tail_next")
      import :: c_int, c_ptr, c_double
      type(c_ptr), value :: tail
      real(c_double), value :: timeout
      type(c_ptr), intent(inout) :: step
      integer(c_int) :: status
    end function c_tail_next
    function c_tail_close(tail) result(status) bind(C, name="dvt_tail_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: tail
      integer(c_int) :: status
    end function c_tail_close
    function c_writer_get_statistics(writer, statistics) &
      result(status) bind(C, name="dvt_writer_get_statistics")
      import :: c_int, c_ptr, dvt_stream_statistics
      type(c_ptr), value :: writer
      type(dvt_stream_statistics), intent(inout) :: statistics
      integer(c_int) :: status
    end function c_writer_get_statistics
    function c_reader_get_statistics(reader, statistics) &
      result(status) bind(C, name="dvt_reader_get_statistics")
      import :: c_int, c_ptr, dvt_stream_statistics
      type(c_ptr), value :: reader
      type(dvt_stream_statistics), intent(inout) :: statistics
      integer(c_int) :: status
    end function c_reader_get_statistics
    function c_writer_get_info(writer, info) result(status) bind(C, name="dvt_writer_get_info")
      import :: c_int, c_ptr, info_c
      type(c_ptr), value :: writer
      type(info_c), intent(inout) :: info
      integer(c_int) :: status
    end function c_writer_get_info
    function c_reader_get_info(reader, info) result(status) bind(C, name="dvt_reader_get_info")
      import :: c_int, c_ptr, info_c
      type(c_ptr), value :: reader
      type(info_c), intent(inout) :: info
      integer(c_int) :: status
    end function c_reader_get_info
    function c_stream_describe(url, description) result(status) bind(C, name="dvt_stream_describe")
      import :: c_int, c_char, dvt_stream_description
      character(kind=c_char), intent(in) :: url(*)
      type(dvt_stream_description), intent(inout) :: description
      integer(c_int) :: status
    end function c_stream_describe
    function c_stream_destroy(url) result(status) bind(C, name="dvt_stream_destroy")
      import :: c_int, c_char
      character(kind=c_char), intent(in) :: url(*)
      integer(c_int) :: status
    end function c_stream_destroy
    function c_communicator(ranks, comm) result(status) bind(C, name="dvtf_communicator")
      import :: c_int, ranks_c
      type(ranks_c), intent(inout) :: ranks
      type(*), intent(in) :: comm(..)
      integer(c_int) :: status
    end function c_communicator
  end interface

end module dovetail_streams_c
