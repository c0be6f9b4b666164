! scripts FOLDER BATCH: calls the TorchScript file net.pt with the inputs of a file.
program scripts
  use, intrinsic :: iso_fortran_env, only: real32
  use dovetail
  implicit none
  character(1000) :: folder, said
  character(20) :: text
  type(dvt_model) :: model
  integer :: batch, file, stat
  real(real32), allocatable :: x(:, :), y(:, :), narrow(:, :)

  call get_command_argument(1, folder)
  call get_command_argument(2, text)
  read (text, *) batch
  allocate (x(8, batch), y(4, batch), narrow(7, batch))
  open (newunit=file, file=trim(folder) // '/inputs', access='stream', action='read')
  read (file) x
  close (file)

  call model%load(trim(folder) // '/cut.pt', stat=stat, errmsg=said)
  if (stat /= dvt_corrupt) error stop 'half a file is refused'
  call model%load(trim(folder) // '/net.pt', device='cpu', threads=1)
  narrow = 0
  if (model%run(narrow, y, stat=stat, errmsg=said)) error stop 'seven channels are not eight'
  if (stat /= dvt_model_failed .or. index(said, 'cannot be multiplied') == 0) error stop said
  if (model%run(x, narrow, stat=stat, errmsg=said)) error stop 'there is no room for the output'
  if (stat /= dvt_argument .or. index(said, 'output0') == 0) error stop said
  if (.not. model%run(x, y)) error stop 'the model did not answer'
  open (newunit=file, file=trim(folder) // '/outputs', access='stream', action='write')
  write (file) y
  close (file)
  call model%close()
  print '(a)', 'done'
end program scripts
