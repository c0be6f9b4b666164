! A plate that is divided among the ranks of a job: each holds a rectangle, and a rim of its
! neighbours' cells around it.
module plate
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08
  implicit none
  private

  public :: divide, exchange, advance

  ! A rank's part: cells (1:nx, 1:ny) here are (x0 + 1:x0 + nx, y0 + 1:y0 + ny) of the plate.
  type, public :: part
    type(MPI_Comm) :: comm
    integer :: rank
    integer :: plate(2)           ! extents of the whole plate
    integer :: nx, ny             ! extents of this part
    integer :: x0, y0             ! where it begins, counted from 0
    integer :: left, right, down, up
  end type part

contains

  ! Ranks form a grid that is as square as can be; every rank has as many cells, give or take one.
  function divide(nx, ny) result(mine)
    integer, intent(in) :: nx, ny
    type(part) :: mine
    integer :: ranks, grid(2), place(2)

    call MPI_Comm_size(MPI_COMM_WORLD, ranks)
    grid = 0
    call MPI_Dims_create(ranks, 2, grid)
    call MPI_Cart_create(MPI_COMM_WORLD, 2, grid, [.false., .false.], .true., mine%comm)
    call MPI_Comm_rank(mine%comm, mine%rank)
    call MPI_Cart_coords(mine%comm, mine%rank, 2, place)
    call MPI_Cart_shift(mine%comm, 0, 1, mine%left, mine%right)
    call MPI_Cart_shift(mine%comm, 1, 1, mine%down, mine%up)
    mine%plate = [nx, ny]
    mine%x0 = place(1)*nx/grid(1)
    mine%nx = (place(1) + 1)*nx/grid(1) - mine%x0
    mine%y0 = place(2)*ny/grid(2)
    mine%ny = (place(2) + 1)*ny/grid(2) - mine%y0
  end function divide

  ! Fills the rim of u with the neighbours' cells; at the edge of the plate it stays as it is.
  subroutine exchange(mine, u)
    type(part), intent(in) :: mine
    real(real64), intent(inout) :: u(0:, 0:)
    real(real64) :: column(mine%ny)

    associate (nx => mine%nx, ny => mine%ny)
      column = u(0, 1:ny)
      call MPI_Sendrecv(u(nx, 1:ny), ny, MPI_DOUBLE_PRECISION, mine%right, 0, &
        column, ny, MPI_DOUBLE_PRECISION, mine%left, 0, mine%comm, MPI_STATUS_IGNORE)
      u(0, 1:ny) = column
      column = u(nx + 1, 1:ny)
      call MPI_Sendrecv(u(1, 1:ny), ny, MPI_DOUBLE_PRECISION, mine%left, 1, &
        column, ny, MPI_DOUBLE_PRECISION, mine%right, 1, mine%comm, MPI_STATUS_IGNORE)
      u(nx + 1, 1:ny) = column
      call MPI_Sendrecv(u(1:nx, ny), nx, MPI_DOUBLE_PRECISION, mine%up, 2, &
        u(1:nx, 0), nx, MPI_DOUBLE_PRECISION, mine%down, 2, mine%comm, MPI_STATUS_IGNORE)
      call MPI_Sendrecv(u(1:nx, 1), nx, MPI_DOUBLE_PRECISION, mine%down, 3, &
        u(1:nx, ny + 1), nx, MPI_DOUBLE_PRECISION, mine%up, 3, mine%comm, MPI_STATUS_IGNORE)
    end associate
  end subroutine exchange

  ! How much the heat of each cell changes in one step; the rim has been exchanged. A surrogate has
  ! the same interface: it takes the place of this procedure in the time loop.
  subroutine advance(mine, u, change)
    type(part), intent(in) :: mine
    real(real64), intent(in) :: u(0:, 0:)
    real(real64), intent(out) :: change(:, :)
    real(real64), parameter :: diffusivity = 0.1_real64
    integer :: i, j

    do concurrent(j=1:mine%ny, i=1:mine%nx)
      change(i, j) = diffusivity &
        *(u(i - 1, j) + u(i + 1, j) + u(i, j - 1) + u(i, j + 1) - 4*u(i, j))
    end do
  end subroutine advance

end module plate
