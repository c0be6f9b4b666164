!> What both ends of a stream are opened with.
module dovetail_opening
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_streams_c
  implicit none
  private

  public :: dvt_stream_info, ranks_of, deadline, chosen, info_of

  real(c_double), parameter :: usual_timeout = 60

  type :: dvt_stream_info
    character(:), allocatable :: url   !< as opened: a bare name is resolved
    integer :: policy = 0, window = 0  !< the writer's choice
    integer(c_int64_t) :: epoch = 0    !< which of the stream's writers this is, from 1
  end type dvt_stream_info

contains

  function ranks_of(ranks, comm, rank, size) result(status)
    type(ranks_c), intent(inout) :: ranks
    type(*), intent(in), optional :: comm(..)
    integer, intent(in), optional :: rank, size
    integer(c_int) :: status
    status = dvt_ok
    ranks%rank = chosen(rank, 0)
    ranks%size = chosen(size, 1)
    if (present(comm)) status = c_communicator(ranks, comm)
  end function ranks_of

  pure function deadline(timeout) result(seconds)
    real(c_double), intent(in), optional :: timeout
    real(c_double) :: seconds
    seconds = usual_timeout
    if (present(timeout)) seconds = timeout
  end function deadline

  pure function chosen(given, usual) result(number)
    integer, intent(in), optional :: given
    integer, intent(in) :: usual
    integer(c_int) :: number
    number = int(usual, c_int)
    if (present(given)) number = int(given, c_int)
  end function chosen

  function info_of(told) result(info)
    type(info_c), intent(in) :: told
    type(dvt_stream_info) :: info
    info%url = of_c(told%url)
    info%policy = int(told%policy)
    info%window = int(told%window)
    info%epoch = told%epoch
  end function info_of

end module dovetail_opening
