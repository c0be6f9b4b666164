! Calls Python from Fortran; sections are views as well.
program calls
  use, intrinsic :: iso_c_binding
  use dovetail
  implicit none
  real(c_double) :: u(2, 3), field(5, 7)
  integer(c_int16_t) :: k(2, 3)
  character(:), allocatable :: answer
  character(4000) :: said
  integer :: stat

  field = 0
  u = reshape([1d0, 4d0, 2d0, 5d0, 3d0, 6d0], [2, 3])
  call dvt_python_call('here:fill', 'u', u, 'corner', field(5:1:-2, 2:4), &
    settings='{"by": 3}', answer=answer)
  if (answer /= '{"shapes": [[2, 3], [3, 3]]}') error stop 'another answer: ' // answer
  if (abs(u(2, 3) - 18) > 0) error stop 'u is not the solver''s own'
  if (abs(field(5, 2) - 7) > 0 .or. abs(field(1, 4) - 8) > 0) error stop 'a section is a view'
  if (count(field(2:4:2, :) > 0) /= 0) error stop 'between the cells of a section'

  call dvt_python_call('here:nothing')
  k = 0
  call dvt_python_call('here:fail', 'k', k, stat=stat, errmsg=said)
  if (stat /= dvt_python_failed) error stop 'it raised'
  if (index(said, 'here:fail raised ValueError: no') /= 1) error stop 'it says what it raised'
  if (index(said, 'Traceback') == 0) error stop 'it says where'
  call dvt_python_call('here', stat=stat)
  if (stat /= dvt_argument) error stop 'that names no function'
  print '(a)', 'done'
end program calls
