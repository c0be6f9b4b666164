! Heat spreads over a plate that is divided among MPI ranks, and a network that is trained meanwhile
! takes the place of the physics. The steps that the physics computes go into the stream "fields",
! where a trainer sees one plate; the weights come back through the store "models".
!
!   mpiexec -n 4 build/heat [STEPS [MODEL]]         without a model the physics computes every step
program heat
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08
  use dovetail
  use plate
  use surrogate
  implicit none
  integer, parameter :: nx = 64, ny = 48
  integer, parameter :: every = 10  ! of so many steps the physics computes one for the trainer
  real(real64), allocatable :: u(:, :), change(:, :)
  type(part) :: mine
  type(dvt_writer) :: out
  character(1000) :: model
  logical :: ready
  integer :: n, steps

  call MPI_Init()
  steps = chosen_steps()
  call get_command_argument(2, model)
  mine = divide(nx, ny)
  allocate (u(0:mine%nx + 1, 0:mine%ny + 1), change(mine%nx, mine%ny))
  u = 0  ! the edge of the plate is kept at 0
  call warm(nx/3, ny/2, 1d0)
  call warm(nx - 5, 4, 1d0)

  if (model /= '') call load(model)
  call out%open('fields', policy=dvt_buffered, window=4, comm=mine%comm, timeout=120d0)
  do n = 0, steps - 1
    if (n == steps/2 + every/2) call warm(nx/2, ny/2, 3d0)  ! hotter than anything before
    call exchange(mine, u)
    ready = .false.
    if (model /= '') ready = trained(mine)
    if (.not. ready .or. mod(n, every) == 0) then
      call advance(mine, u, change)
      call show(n)
    else if (.not. guess(mine, u, change)) then
      call advance(mine, u, change)
    end if
    u(1:mine%nx, 1:mine%ny) = u(1:mine%nx, 1:mine%ny) + change
  end do
  call report()
  call out%close()
  call MPI_Finalize()

contains

  ! A step for the trainer. All ranks agree on which: a step is whole when each has ended it.
  subroutine show(n)
    integer, intent(in) :: n
    character(64) :: attrs
    write (attrs, '(a,i0,a)') '{"step": ', n, '}'
    call out%begin(attrs)
    ! The inner cells are a section of u: the stream takes them without a copy of its own.
    call out%put('u', u(1:mine%nx, 1:mine%ny), shape=mine%plate, start=[mine%x0, mine%y0])
    call out%put('change', change, shape=mine%plate, start=[mine%x0, mine%y0])
    call out%end()
  end subroutine show

  ! Cell (x, y) of the plate, if it is this rank's.
  subroutine warm(x, y, heat)
    integer, intent(in) :: x, y
    real(real64), intent(in) :: heat
    integer :: i, j
    i = x - mine%x0
    j = y - mine%y0
    if (i >= 1 .and. i <= mine%nx .and. j >= 1 .and. j <= mine%ny) u(i, j) = heat
  end subroutine warm

  subroutine report()
    type(dvt_stream_statistics) :: numbers
    real(real64) :: heat
    integer :: answers, fallbacks
    heat = sum(u(1:mine%nx, 1:mine%ny))
    call MPI_Allreduce(MPI_IN_PLACE, heat, 1, MPI_DOUBLE_PRECISION, MPI_SUM, mine%comm)
    numbers = out%statistics()
    if (mine%rank == 0) then
      print '(a, i0, a, f0.6, a, f0.2, a)', 'heat: ', steps, ' steps, heat ', heat, ', waited ', &
        numbers%seconds_waited, ' s'
    end if
    if (model == '') return
    call account(mine, answers, fallbacks)
    if (mine%rank == 0) then
      print '(2(a, i0), a)', 'heat: the network answered ', answers, ' times, and ', fallbacks, &
        ' times the guard left it to the physics'
    end if
    call forget()
  end subroutine report

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
