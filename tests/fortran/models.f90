! models PATH FOLDER URL BATCH: calls a model with the inputs of a file, and writes what it makes.
! MODEL_SHARED says who computes it.
program models
  use, intrinsic :: iso_fortran_env, only: int16, int64, real32, real64
  use dovetail
  implicit none
  character(1000) :: path, folder, url, said
  character(20) :: text
  type(dvt_model) :: model
  type(dvt_model_statistics) :: numbers
  type(dvt_store) :: store
  integer :: batch, file, stat, shared
  real(real32), allocatable :: x(:, :), first(:, :)
  integer(int16), allocatable :: scale(:, :), second(:)
  integer(int64), allocatable :: shift(:)
  real(real64), parameter :: none(0) = [real(real64) ::]

  call get_command_argument(1, path)
  call get_command_argument(2, folder)
  call get_command_argument(3, url)
  call get_command_argument(4, text)
  read (text, *) batch
  allocate (x(8, batch), scale(1, batch), shift(batch), first(4, batch), second(batch))
  open (newunit=file, file=trim(folder) // '/inputs', access='stream', action='read')
  read (file) x, scale, shift
  close (file)

  call model%load('/nowhere.pt2', stat=stat, errmsg=said)
  if (stat >= 0 .or. index(said, '/nowhere.pt2') == 0) error stop 'there is no such model'
  call get_environment_variable('MODEL_SHARED', text, status=stat)
  shared = 0
  if (stat == 0) read (text, *) shared
  call model%load(path, device='cpu', threads=1, shared=shared, gather=0.001_real64)
  call answer('outputs')

  if (model%run(x, first, stat=stat, errmsg=said)) error stop 'inputs are missing'
  if (stat /= dvt_argument .or. index(said, '3 inputs') == 0) error stop 'another refusal'
  if (model%run(x(::2, :), first, scale, second, shift, stat=stat)) error stop 'a gap'
  if (stat /= dvt_argument) error stop 'another refusal of a gap'

  call store%open(url)
  call model%follow(store, 'closure')
  call store%close()
  if (.not. model%refresh()) error stop 'there is a version'
  if (model%refresh()) error stop 'there is no other version'
  call answer('followed')

  call model%guard([real(real64) :: -9, -9, -9, -9, -9, -9, -9, -9], &
    [real(real64) :: 9, 9, 9, 9, 9, 9, 9, 9])
  x(3, 1) = 50
  if (model%run(x, first, scale, second, shift, stat=stat)) error stop 'out of range'
  if (stat /= dvt_fall_back) error stop 'the guard falls back'
  call model%guard(none, none)
  numbers = model%statistics()
  if (numbers%fallbacks /= 1 .or. numbers%version /= 1) error stop 'statistics'
  call model%close()
  print '(a)', 'done'

contains

  subroutine answer(name)
    character(*), intent(in) :: name
    first = 0
    second = 0
    if (.not. model%run(x, first, scale, second, shift)) error stop 'the model did not answer'
    open (newunit=file, file=trim(folder) // '/' // name, access='stream', action='write')
    write (file) first, second
    close (file)
  end subroutine answer

end program models
