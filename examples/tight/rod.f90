! Heat spreads along a rod that is divided among MPI ranks, and after every step the ranks train one
! network together, in Python, inside this program: each on its own part of the rod.
!
!   mpiexec -n 2 build/rod [STEPS]                         in the folder of train.py
program rod
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08
  use dovetail
  implicit none
  integer, parameter :: n = 64
  real(real64) :: u(0:n + 1), change(n)
  character(:), allocatable :: answer
  character(80) :: settings
  character(20) :: text
  integer :: rank, ranks, left, right, step, steps, i

  steps = 200
  call get_command_argument(1, text)
  if (text /= '') read (text, *) steps

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks)
  left = modulo(rank - 1, ranks)
  right = modulo(rank + 1, ranks)
  u = [(sin(0.3*(rank*n + i)) + modulo(0.37*i*(rank + 1), 1.0), i=0, n + 1)]
  ! The communicator goes to Python as its Fortran integer.
  write (settings, '(a, i0, a)') '{"communicator": ', MPI_COMM_WORLD%mpi_val, '}'

  do step = 1, steps
    call MPI_Sendrecv(u(n), 1, MPI_DOUBLE_PRECISION, right, 0, &
      u(0), 1, MPI_DOUBLE_PRECISION, left, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE)
    call MPI_Sendrecv(u(1), 1, MPI_DOUBLE_PRECISION, left, 1, &
      u(n + 1), 1, MPI_DOUBLE_PRECISION, right, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE)
    change = 0.2_real64*(u(0:n - 1) - 2*u(1:n) + u(2:n + 1))

    call dvt_python_call('train:train', 'u', u, 'change', change, settings=settings, answer=answer)
    if (step == 1 .or. step == steps) then
      print '(a, i0, a, i0, 2a)', 'rank ', rank, ', step ', step, ': ', answer
    end if

    u(1:n) = u(1:n) + 0.01_real64*change
  end do
  call MPI_Finalize()
end program rod
