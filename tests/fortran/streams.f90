! streams ROLE URL [NUMBER]: one end of a stream whose other end is Python or Fortran.
program streams
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real64, output_unit
  use dovetail
  implicit none
  character(1000) :: role, url, argument
  integer :: number

  call get_command_argument(1, role)
  call get_command_argument(2, url)
  call get_command_argument(3, argument)
  number = 0
  if (argument /= '') read (argument, *) number
  select case (role)
  case ('produce')
    call produce()
  case ('consume')
    call consume()
  case ('fail')
    call fail()
  case ('hang')
    call hang_in_a_step()
  case ('survive')
    call survive_the_producer()
  case ('refuse')
    call refuse()
  end select
  print '(a)', 'done'

contains

  subroutine check(holds, what)
    logical, intent(in) :: holds
    character(*), intent(in) :: what
    if (.not. holds) error stop what
  end subroutine check

  subroutine produce()
    type(dvt_writer) :: out
    type(dvt_stream_info) :: info
    type(dvt_stream_statistics) :: numbers
    real(real64) :: u(4, 3)
    real(real64), pointer :: v(:, :)
    integer(int64) :: index
    integer :: k, step

    u = reshape([(k, k=1, 12)], [4, 3])
    call out%open(url, policy=dvt_buffered, window=3, timeout=30d0)
    do step = 1, number
      call out%begin('{"step": ' // achar(iachar('0') + step) // '}', index=index)
      call check(index == step - 1, 'steps count from 0')
      call out%put('u ', u + step, shape=[4, 3], start=[0_int64, 0_int64])
      call out%put('down', u(4:1:-1, 1))
      call out%put('time', 0.5d0 * step)
      call out%empty('v', v, [2, 5])
      v = step
      call out%end()
    end do
    info = out%info()
    call check(info%window == 3 .and. info%policy == dvt_buffered .and. info%epoch == 1, 'info')
    numbers = out%statistics()
    call check(numbers%steps == number, 'statistics')
    call out%close()
  end subroutine produce

  subroutine consume()
    type(dvt_reader) :: in
    type(dvt_step) :: step
    real(real64), pointer :: u(:, :), part(:, :)
    real(real64) :: whole(4, 3), column(4, 1), time
    integer :: steps, stat

    call in%open(url, timeout=30d0)
    steps = 0
    do while (in%next(step, stat=stat))
      steps = steps + 1
      call step%view('u', u)
      call check(all(shape(u) == [4, 3]) .and. nint(u(4, 3)) == 12 + steps, 'view')
      call step%view('u', part, start=[1, 0], count=[2, 3])
      call check(nint(part(1, 1)) == 2 + steps .and. nint(part(2, 3)) == 11 + steps, 'selection')
      call step%read('u', whole)
      call check(all(nint(whole) == nint(u)), 'read')
      call step%read('u', column, start=[0, 2])
      call check(all(nint(column(:, 1)) == nint(u(:, 3))), 'read a selection')
      call step%read('time', time)
      call check(nint(2 * time) == steps, 'a number')
      call check(step%index() == steps - 1, 'index')
      call check(index(step%attrs(), '"step"') > 0, 'attrs')
      call step%end()
      call check(nint(u(4, 3)) == 12 + steps, 'a view outlives its step')
    end do
    call check(stat == dvt_end, 'the end')
    call check(steps == number, 'every step')
    call in%close()
  end subroutine consume

  ! The sentence of the library goes to stderr, and readers see a writer that was lost.
  subroutine fail()
    type(dvt_writer) :: out
    call out%open(url, timeout=30d0)
    call out%begin()
    call out%put('n', 1)
    call out%end()
    call out%begin()
    call out%put('n', 2, shape=[3], start=[1])
  end subroutine fail

  subroutine hang_in_a_step()
    type(dvt_writer) :: out
    call out%open(url, policy=dvt_buffered, window=4, timeout=30d0)
    call out%begin()
    call out%put('n', 1)
    call out%end()
    call out%begin()
    call out%put('n', 2)
    print '(a)', 'in a step'
    flush (output_unit)
    read (*, *)
  end subroutine hang_in_a_step

  subroutine survive_the_producer()
    type(dvt_reader) :: in
    type(dvt_step) :: step
    character(300) :: said
    integer :: stat, steps

    call in%open(url, timeout=30d0)
    steps = 0
    do while (in%next(step, stat=stat, errmsg=said))
      steps = steps + 1
      print '(a)', 'step'
      flush (output_unit)
    end do
    call check(stat == dvt_lost .and. steps == 1, trim(said))
    call in%close(failed=.true.)
  end subroutine survive_the_producer

  subroutine refuse()
    type(dvt_writer) :: out
    type(dvt_reader) :: in
    type(dvt_step) :: step
    type(dvt_stream_description) :: description
    real(real64), pointer :: p(:, :)
    character(300) :: said
    integer :: stat

    call in%open(url, timeout=0.05d0, stat=stat, errmsg=said)
    call check(stat == dvt_timeout, 'no writer: ' // said)
    call out%open(url, window=0, stat=stat, errmsg=said)
    call check(stat == dvt_argument, 'window: ' // said)
    call out%open(url, comm=1.5d0, stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, 'comm') > 0, 'comm: ' // said)
    call out%put('u', 1, stat=stat, errmsg=said)
    call check(stat < 0, 'a writer that is not open')
    call out%open(url, timeout=5d0)
    call out%put('u', 1, stat=stat, errmsg=said)
    call check(stat < 0, 'put outside a step')
    call out%begin()
    call out%put('u', [1, 2], shape=[4], stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, 'start') > 0, 'shape alone: ' // said)
    call out%put('u', [1, 2], shape=[4, 1], start=[0], stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, '2 numbers') > 0, 'rank: ' // said)
    call out%put('u', [1, 2], shape=[4.0], start=[0.0], stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, 'integer') > 0, 'real shape: ' // said)
    call out%put('u', [1, 2], shape=[4], start=[3], stat=stat, errmsg=said)
    call check(stat == dvt_coverage, 'outside: ' // said)
    call out%empty('v', p, [2], stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, 'axes') > 0, 'pointer: ' // said)
    call out%abandon()
    call out%begin()
    call out%put('u', reshape([1d0, 2d0, 3d0, 4d0], [2, 2]))
    call out%end()
    call in%open(url, timeout=5d0)
    call check(in%next(step), 'a step')
    call step%view('u', p, start=[0], count=[2], stat=stat, errmsg=said)
    call check(stat < 0, 'start of one number: ' // said)
    call step%view('u', p, start=[0, 0], stat=stat, errmsg=said)
    call check(stat == dvt_argument .and. index(said, 'count') > 0, 'no count: ' // said)
    call step%view('u', p, start=[1, 1], count=[2, 2], stat=stat, errmsg=said)
    call check(stat < 0, 'outside: ' // said)
    call step%view('w', p, stat=stat, errmsg=said)
    call check(stat == dvt_absent, 'no such array: ' // said)
    call dvt_describe_stream(url, description)
    call check(description%steps_complete == 1 .and. description%state == dvt_stream_open, 'told')
    call check(.not. in%next(step, timeout=0.05d0, stat=stat) .and. stat == dvt_timeout, 'timeout')
    call in%stop()
    call out%begin(stat=stat)
    call check(stat == dvt_stopped .and. out%stopped(), 'stopped')
    call out%close()
    call in%close()
    call dvt_destroy_stream(url, stat=stat)
    call dvt_describe_stream(url, description, stat=stat)
    call check(stat == dvt_absent, 'destroyed')
  end subroutine refuse

end program streams
