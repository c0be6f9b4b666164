!> Dovetail for Fortran: stores and streams in shared memory and in folders, and a network in the
!> time loop.
!>
!>   use dovetail
!>   type(dvt_writer) :: out
!>   call out%open("shm://fields")
!>   call out%begin()
!>   call out%put("u", u, shape=[nx, ny], start=[i0, 0])
!>   call out%end()
!>   call out%close()
!>
!> Arrays go as they lie, without a copy on the way to the one that is published; sections and
!> negative strides too. Starts and counts are 0-based, in the order of the array's axes. Every
!> call takes `stat=` and `errmsg=`; without `stat` a failure ends the program with its sentence.
!> Trailing blanks of names do not count. What dovetail.h says of threads, times and what is
!> promised holds here too; who calls from several threads compiles with -fopenmp or -frecursive,
!> as threads in Fortran need anyhow.
module dovetail
  use dovetail_status, only: dvt_last_error, dvt_status_name, dvt_version, dvt_ok, dvt_end, &
    dvt_argument, dvt_invalid_url, dvt_invalid_key, dvt_unsupported, dvt_coverage, &
    dvt_capability, dvt_unavailable, dvt_access, dvt_absent, dvt_full, dvt_corrupt, &
    dvt_format_version, dvt_timeout, dvt_closed, dvt_stopped, dvt_lost, dvt_expelled, dvt_busy, &
    dvt_system, dvt_internal, dvt_fall_back, dvt_model_failed, dvt_python_failed
  use dovetail_arrays, only: dvt_dtype_name, dvt_bool, dvt_int8, dvt_int16, dvt_int32, dvt_int64, &
    dvt_uint8, dvt_uint16, dvt_uint32, dvt_uint64, dvt_float16, dvt_bfloat16, dvt_float32, &
    dvt_float64, dvt_complex64, dvt_complex128
  use dovetail_stores_c, only: dvt_store_statistics
  use dovetail_streams_c, only: dvt_stream_statistics, dvt_stream_description, dvt_stream_group
  use dovetail_values, only: dvt_value, dvt_reservation
  use dovetail_stores, only: dvt_store, dvt_for_ever
  use dovetail_opening, only: dvt_stream_info
  use dovetail_steps, only: dvt_step
  use dovetail_writers, only: dvt_writer, dvt_lease, dvt_lockstep, dvt_buffered, dvt_latest, &
    dvt_work_queue
  use dovetail_readers, only: dvt_reader, dvt_tail, dvt_describe_stream, dvt_destroy_stream, &
    dvt_stream_open, dvt_stream_ended, dvt_stream_failed, dvt_stream_lost, dvt_group_joining, &
    dvt_group_live, dvt_group_left, dvt_group_failed, dvt_group_expelled, dvt_group_lost
  use dovetail_models, only: dvt_model, dvt_model_statistics, dvt_model_shared, &
    dvt_model_shared_else_in_process
  use dovetail_python, only: dvt_python_call
  implicit none
  public
end module dovetail
