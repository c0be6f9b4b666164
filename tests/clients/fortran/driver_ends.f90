!> What both ends of a stream are opened with, and tell.
module driver_ends
  use, intrinsic :: iso_c_binding
  use dovetail
  use driver_texts
  implicit none
  public

  !> dvt_ranks of dovetail.h. Communicators are tried elsewhere.
  type, bind(C) :: ranks_c
    integer(c_int32_t) :: rank, size, comm_kind, reserved
    type(c_ptr) :: comm
  end type ranks_c

  type, bind(C) :: info_c
    type(c_ptr) :: url
    integer(c_int32_t) :: policy, window
    integer(c_int64_t) :: epoch
  end type info_c

contains

  function info_in(told) result(info)
    type(dvt_stream_info), intent(in) :: told
    type(info_c) :: info
    info = info_c(c_null_ptr, 0, 0, 0)
    if (.not. allocated(told%url)) return
    info = info_c(kept(told%url), told%policy, told%window, told%epoch)
  end function info_in

end module driver_ends
