! A tiny solver in Fortran: heat spreads over a plate, and a trainer watches.
!
!   gfortran -o solver $(pkg-config --variable=fortran dovetail) solver.f90 \
!     $(pkg-config --cflags --libs dovetail)
!   DOVETAIL_STREAM_FIELDS=shm://plate ./solver
program solver
  use, intrinsic :: iso_fortran_env, only: real64
  use dovetail
  implicit none
  integer, parameter :: nx = 32, ny = 32, steps = 50
  real(real64), parameter :: diffusivity = 0.1_real64
  real(real64) :: u(nx, ny), change(nx, ny)
  type(dvt_writer) :: out
  character(64) :: attrs
  integer :: n

  u = 0
  u(nx/3, ny/2) = 1

  ! Up to 4 steps may wait for the trainer; we wait for it for up to 60 s. Whatever fails ends the
  ! program with a sentence, unless a call is given stat= and errmsg=.
  call out%open('fields', policy=dvt_buffered, window=4, timeout=60d0)
  do n = 0, steps - 1
    change = change_of(u)
    write (attrs, '(a,i0,a)') '{"step": ', n, '}'
    call out%begin(attrs)
    call out%put('u', u)
    call out%put('change', change)
    call out%end()
    u = u + change
  end do
  call out%close()
  print '(a,i0,a)', 'solver: ', steps, ' steps'

contains

  ! How much the heat of each cell changes in one step. The edge is kept at 0.
  pure function change_of(u) result(change)
    real(real64), intent(in) :: u(:, :)
    real(real64) :: change(size(u, 1), size(u, 2))
    integer :: i, j

    change = 0
    do j = 2, size(u, 2) - 1
      do i = 2, size(u, 1) - 1
        change(i, j) = diffusivity &
          *(u(i - 1, j) + u(i + 1, j) + u(i, j - 1) + u(i, j + 1) - 4*u(i, j))
      end do
    end do
  end function change_of

end program solver
