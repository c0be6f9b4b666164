! stores write|read|refuse|stop URL: one end of a pair whose other end is Python or C.
! Element k of an array, in the order in which it lies, is k, from 1; complex (k, -k); odd is true.
program stores
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use dovetail
  implicit none
  type(dvt_store) :: store
  character(1000) :: role, url

  call get_command_argument(1, role)
  call get_command_argument(2, url)
  call store%open(url)
  select case (role)
  case ('write')
    call write_kinds()
    call write_ranks()
    call write_sections()
    call write_many()
    call fill_in_place()
  case ('read')
    call read_kinds('F')
    call read_kinds('C')
    call read_bits()
    call read_ranks()
    call lists_and_keys()
  case ('refuse')
    call refuse()
  case ('stop')
    call stop_with_the_sentence()
  end select
  call store%close()
  print '(a)', 'done'

contains

  subroutine check(holds, what)
    logical, intent(in) :: holds
    character(*), intent(in) :: what
    if (.not. holds) error stop what
  end subroutine check

  function numbers() result(n)
    integer :: n(3, 4)
    integer :: k
    n = reshape([(k, k=1, 12)], [3, 4])
  end function numbers

  subroutine write_kinds()
    call store%put('int8   ', int(numbers(), int8))
    call store%put('int16', int(numbers(), int16))
    call store%put('int32', int(numbers(), int32))
    call store%put('int64', int(numbers(), int64))
    call store%put('float32', real(numbers(), real32))
    call store%put('float64', real(numbers(), real64))
    call store%put('complex64', cmplx(numbers(), -numbers(), real32))
    call store%put('complex128', cmplx(numbers(), -numbers(), real64))
    call store%put('bool', logical(mod(numbers(), 2) == 1, c_bool))
    call store%put('uint8', int(numbers(), int8), dtype=dvt_uint8)
    call store%put('uint16', int(numbers(), int16), dtype=dvt_uint16)
    call store%put('uint32', int(numbers(), int32), dtype=dvt_uint32)
    call store%put('uint64', int(numbers(), int64), dtype=dvt_uint64)
    call store%put('float16', int(numbers(), int16), dtype=dvt_float16)
    call store%put('bfloat16', int(numbers(), int16), dtype=dvt_bfloat16)
  end subroutine write_kinds

  subroutine write_ranks()
    real(real64) :: a(128)
    real(real64), allocatable :: none(:, :)
    integer :: k

    a = [(k, k=1, 128)]
    call store%put('rank0', a(1))
    call store%put('rank1', a(:2))
    call store%put('rank2', reshape(a, [2, 3]))
    call store%put('rank3', reshape(a, [2, 3, 1]))
    call store%put('rank4', reshape(a, [2, 3, 1, 2]))
    call store%put('rank5', reshape(a, [2, 3, 1, 2, 2]))
    call store%put('rank6', reshape(a, [2, 3, 1, 2, 2, 1]))
    call store%put('rank7', reshape(a, [2, 3, 1, 2, 2, 1, 2]))
    allocate (none(0, 5))
    call store%put('none', none)
  end subroutine write_ranks

  subroutine write_sections()
    real(real64) :: a(6, 8)
    integer :: k
    a = reshape([(real(k, real64), k=1, 48)], [6, 8])
    call store%put('section', a(2:6:2, 3:8))
    call store%put('backwards', a(6:1:-1, 8:1:-2))
    call store%put('row', a(2, :))
    call assumed_size(a)
  end subroutine write_sections

  subroutine assumed_size(a)
    real(real64), intent(in) :: a(6, *)
    call store%put('bounded', a(:, 1:8))
  end subroutine assumed_size

  subroutine write_many()
    character(20) :: padded
    character(:), allocatable :: version
    padded = 'u'
    call store%put_fields('many   ', padded, numbers(), 'v ', real(numbers()), '  w', 1_int8, &
      attrs='{"time": 0.5}', version=version)
    call check(len(version) > 0, 'put_fields gives a version')
    call store%put('one', 1, version=version)
    call check(len(version) > 0, 'put gives a version')
    call store%delete('one')
  end subroutine write_many

  subroutine fill_in_place()
    type(dvt_reservation) :: room
    real(real64), pointer :: u(:, :)
    integer(int32), pointer :: n
    integer :: none(0)

    call room%declare('u', dvt_float64, [3, 4])
    call room%declare('a longer name', dvt_int32, none)
    call store%reserve('room', room, attrs='{"filled": "in place"}')
    call room%view('u', u)
    u = numbers()
    call room%view('a longer name', n)
    n = 7
    call room%commit()
    call room%close()
  end subroutine fill_in_place

  subroutine read_kinds(order)
    character(1), intent(in) :: order
    integer(int8) :: i1(3, 4)
    integer(int16) :: i2(3, 4)
    integer(int32) :: i4(3, 4)
    integer(int64) :: i8(3, 4)
    real(real32) :: r4(3, 4)
    real(real64) :: r8(3, 4), wide(6, 8)
    complex(real32) :: c4(3, 4)
    complex(real64) :: c8(3, 4)
    logical(c_bool) :: l(3, 4)
    integer(int8), pointer :: p1(:, :)
    integer(int16), pointer :: p2(:, :)
    integer(int32), pointer :: p4(:, :)
    integer(int64), pointer :: p8(:, :)
    real(real32), pointer :: q4(:, :)
    real(real64), pointer :: q8(:, :)
    complex(real32), pointer :: z4(:, :)
    complex(real64), pointer :: z8(:, :)
    logical(c_bool), pointer :: pl(:, :)
    type(dvt_value) :: held

    call store%get_array('int8-' // order, i1)
    call check(all(i1 == numbers()), 'int8')
    call store%get_array('int16-' // order, i2)
    call check(all(i2 == numbers()), 'int16')
    call store%get_array('int32-' // order, i4)
    call check(all(i4 == numbers()), 'int32')
    call store%get_array('int64-' // order, i8)
    call check(all(i8 == numbers()), 'int64')
    call store%get_array('float32-' // order, r4)
    call check(all(nint(r4) == numbers()), 'float32')
    call store%get_array('float64-' // order, r8)
    call check(all(nint(r8) == numbers()), 'float64')
    call store%get_array('complex64-' // order, c4)
    call check(all(nint(real(c4)) == numbers() .and. nint(aimag(c4)) == -numbers()), 'complex64')
    call store%get_array('complex128-' // order, c8)
    call check(all(nint(real(c8)) == numbers() .and. nint(aimag(c8)) == -numbers()), 'complex128')
    call store%get_array('bool-' // order, l)
    call check(all(l .eqv. mod(numbers(), 2) == 1), 'bool')

    wide = 0
    call store%get_array('float64-' // order, wide(5:1:-2, 2:8:2))
    call check(all(nint(wide(5:1:-2, 2:8:2)) == numbers()), 'into a section')
    call check(nint(sum(wide)) == sum(numbers()), 'and nowhere else')

    call store%get('int8-' // order, held)
    call held%view('value', p1)
    call check(all(p1 == numbers()) .and. all(lbound(p1) == 1), 'view of int8')
    call store%get('int16-' // order, held)
    call held%view('value', p2)
    call check(all(p2 == numbers()), 'view of int16')
    call store%get('int32-' // order, held)
    call held%view('value', p4)
    call check(all(p4 == numbers()), 'view of int32')
    call store%get('int64-' // order, held)
    call held%view('value', p8)
    call check(all(p8 == numbers()), 'view of int64')
    call store%get('float32-' // order, held)
    call held%view('value', q4)
    call check(all(nint(q4) == numbers()), 'view of float32')
    call store%get('complex64-' // order, held)
    call held%view('value', z4)
    call check(all(nint(real(z4)) == numbers()), 'view of complex64')
    call store%get('complex128-' // order, held)
    call held%view('value', z8)
    call check(all(nint(aimag(z8)) == -numbers()), 'view of complex128')
    call store%get('bool-' // order, held)
    call held%view('value', pl)
    call check(all(pl .eqv. mod(numbers(), 2) == 1), 'view of bool')
    call store%get('float64-' // order, held)
    call held%view('value', q8)
    call check(all(nint(q8) == numbers()) .and. nint(q8(3, 2)) == 6, 'view of float64')
    call check(is_contiguous(q8) .eqv. order == 'F', 'a view lies as it was stored')
    call store%delete('float64-' // order)
    call check(all(nint(q8) == numbers()), 'a view stays as it is')
    call held%close()
  end subroutine read_kinds

  subroutine read_bits()
    integer(int8) :: i1(3, 4)
    integer(int16) :: i2(3, 4)
    integer(int64), pointer :: p8(:, :)
    type(dvt_value) :: held

    call store%get_array('uint8-C', i1, dtype=dvt_uint8)
    call check(all(i1 == numbers()), 'uint8')
    call store%get_array('bfloat16-C', i2, dtype=dvt_bfloat16)
    call check(i2(1, 1) == int(z'3f80', int16), 'bfloat16')
    call store%get('uint64-F', held)
    call held%view('value', p8)
    call check(all(p8 == numbers()), 'view of uint64')
    call held%close()
  end subroutine read_bits

  subroutine read_ranks()
    real(real64) :: number
    real(real64), pointer :: scalar, seven(:, :, :, :, :, :, :)
    type(dvt_value) :: held
    character(:), allocatable :: name
    integer(int64), allocatable :: extents(:)
    integer :: dtype

    call store%get_array('rank0', number)
    call check(nint(number) == 1, 'rank 0')
    call store%get('rank0', held)
    call held%view('value', scalar)
    call check(nint(scalar) == 1, 'view of rank 0')
    call store%get('rank7', held)
    call held%describe(1, name, dtype, extents)
    call check(name == 'value' .and. dtype == dvt_float64, 'describe')
    call check(all(extents == [2, 3, 1, 2, 2, 1, 2]) .and. held%count() == 1, 'extents')
    call held%view('value', seven)
    call check(all(shape(seven) == extents) .and. nint(seven(2, 1, 1, 1, 1, 1, 1)) == 2, 'rank 7')
    call check(held%attrs() == '{"seven":7}', held%attrs())
    call held%close()
  end subroutine read_ranks

  subroutine lists_and_keys()
    character(:), allocatable :: items(:), keys(:)
    type(dvt_store) :: scope
    type(dvt_value) :: held
    character(:), allocatable :: version
    integer(int64) :: position

    call store%append('list ', 'first')
    call store%append('list', 'second  ', position)
    call check(position == 1, 'positions count from 0')
    call store%wait_items('list', 2, 0, 10d0, items)
    call check(size(items) == 2 .and. items(1) == 'first' .and. items(2) == 'second', 'items')
    call store%remove_list('list')
    call store%scope('part/', scope)
    call scope%put('b', 1)
    call scope%put('a', 2, version=version)
    call store%keys('part/', keys)
    call check(size(keys) == 2 .and. keys(1) == 'part/a', 'keys')
    call check(scope%exists('a ') .and. .not. store%exists('a'), 'exists')
    call scope%put('a', 3)
    call scope%wait('a', held, 10d0, newer_than=version)
    call check(held%version() /= version .and. held%nbytes() > 0 .and. held%time() > 0, 'wait')
    call scope%rename('a', 'c')
    call scope%stat('c', held)
    call held%close()
    call scope%close()
  end subroutine lists_and_keys

  subroutine expect(stat, wanted, errmsg, part)
    integer, intent(in) :: stat, wanted
    character(*), intent(in) :: errmsg, part
    if (stat /= wanted .or. index(errmsg, part) == 0) then
      print '(a,i0,a,i0,4a)', 'status ', stat, ' instead of ', wanted, ': ', trim(errmsg), ' / ', part
      error stop 'another error was expected'
    end if
  end subroutine expect

  subroutine refuse()
    type :: pair
      integer :: one = 1, two = 2
    end type pair
    character(200) :: said
    integer :: stat
    logical :: wide(2)
    type(pair) :: unknown
    type(dvt_store) :: closed
    type(dvt_value) :: held
    integer(int32) :: few(2)
    real(real32), pointer :: wrong(:, :)
    real(real64), pointer :: line(:), wide_enough(:, :)

    wide = .true.
    call store%get_array('no such key', few, stat=stat, errmsg=said)
    call expect(stat, dvt_absent, said, 'no such key')
    call check(dvt_status_name(stat) == 'absent', dvt_status_name(stat))
    call store%put('wide', wide, stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, 'logical(c_bool)')
    call store%put('pair', unknown, stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, 'no dtype')
    call store%put('bits', few, dtype=dvt_uint8, stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, 'uint8')
    call store%put('list', 1, attrs='[1]', stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, '')
    call refuse_assumed_size(few)
    call store%put('f', reshape([1d0, 2d0], [1, 2]))
    call store%get_array('f', few, stat=stat, errmsg=said)
    call expect(stat, stat, said, '')
    call check(stat < 0, 'another dtype is refused')
    call store%get('f', held)
    call held%view('value', wrong, stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, 'float32')
    call held%view('value', line, stat=stat, errmsg=said)
    call expect(stat, dvt_unsupported, said, '2 axes')
    call held%view('value', line, start=[0], count=[1], stat=stat, errmsg=said)
    call expect(stat, dvt_argument, said, 'section')
    call held%view('none', line, stat=stat, errmsg=said)
    call expect(stat, dvt_absent, said, 'none')
    call held%close()
    call held%close()
    call held%view('value', line, stat=stat, errmsg=said)
    call expect(stat, dvt_closed, said, 'value is closed')
    call store%stat('f', held)
    call held%view('value', wide_enough, stat=stat, errmsg=said)
    call expect(stat, dvt_argument, said, 'no data')
    call held%close()
    call closed%put('key', 1, stat=stat, errmsg=said)
    call check(stat < 0, 'a store that was never opened')
    call store%wait('never', held, 0.05d0, stat=stat, errmsg=said)
    call expect(stat, dvt_timeout, said, 'never')
    call closed%open('nonsense://x', stat=stat, errmsg=said)
    call expect(stat, dvt_invalid_url, said, 'nonsense')
  end subroutine refuse

  subroutine refuse_assumed_size(a)
    integer(int32), intent(in) :: a(*)
    character(200) :: said
    integer :: stat
    call store%put('a', a, stat=stat, errmsg=said)
    call expect(stat, dvt_argument, said, 'assumed size')
  end subroutine refuse_assumed_size

  subroutine stop_with_the_sentence()
    integer :: few(2)
    call store%get_array('no such key', few)
    print '(a)', 'went on'
  end subroutine stop_with_the_sentence

end program stores
