! Heat spreads over a plate that is divided among MPI ranks. Every step the ranks put their blocks
! into the stream "fields", where a trainer sees one plate.
!
!   DOVETAIL_STREAM_FIELDS=shm://plate mpiexec -n 4 build/heat [STEPS]
program heat
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08
  use dovetail
  use plate
  implicit none
  integer, parameter :: nx = 64, ny = 48
  real(real64), allocatable :: u(:, :), change(:, :)
  type(part) :: mine
  type(dvt_writer) :: out
  type(dvt_stream_statistics) :: numbers
  character(64) :: attrs
  integer :: n, steps

  call MPI_Init()
  steps = chosen_steps()
  mine = divide(nx, ny)
  allocate (u(0:mine%nx + 1, 0:mine%ny + 1), change(mine%nx, mine%ny))
  u = 0  ! the edge of the plate is kept at 0
  call warm(nx/3, ny/2)
  call warm(nx - 5, 4)

  call out%open('fields', policy=dvt_buffered, window=4, comm=mine%comm, timeout=60d0)
  do n = 0, steps - 1
    call exchange(mine, u)
    call advance(mine, u, change)

    write (attrs, '(a,i0,a)') '{"step": ', n, '}'
    call out%begin(attrs)
    ! The inner cells are a section of u: the stream takes them without a copy of its own.
    call out%put('u', u(1:mine%nx, 1:mine%ny), shape=mine%plate, start=[mine%x0, mine%y0])
    call out%put('change', change, shape=mine%plate, start=[mine%x0, mine%y0])
    call out%end()

    u(1:mine%nx, 1:mine%ny) = u(1:mine%nx, 1:mine%ny) + change
  end do
  numbers = out%statistics()
  call out%close()
  if (mine%rank == 0) then
    print '(a, i0, a, f0.2, a)', 'heat: ', steps, ' steps, waited ', numbers%seconds_waited, ' s'
  end if
  call MPI_Finalize()

contains

  ! Cell (x, y) of the plate, if it is this rank's.
  subroutine warm(x, y)
    integer, intent(in) :: x, y
    integer :: i, j
    i = x - mine%x0
    j = y - mine%y0
    if (i >= 1 .and. i <= mine%nx .and. j >= 1 .and. j <= mine%ny) u(i, j) = 1
  end subroutine warm

  function chosen_steps() result(number)
    integer :: number, bad
    character(20) :: text
    number = 100
    call get_command_argument(1, text)
    if (text == '') return
    read (text, *, iostat=bad) number
    if (bad /= 0 .or. number < 1) error stop 'heat: the number of steps must be 1 or more'
  end function chosen_steps

end program heat
