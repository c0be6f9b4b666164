!> A network in the time loop: what dovetail/model.h says, for Fortran.
!>
!>   load - run ... - close
!>   load - follow - refresh, run, refresh, run ... - close
module dovetail_models
  use, intrinsic :: iso_c_binding
  use dovetail_status
  use dovetail_arrays
  use dovetail_stores, only: dvt_store
  implicit none
  private

  public :: dvt_model, dvt_model_statistics, dvt_model_shared, dvt_model_shared_else_in_process

  !> Who computes a model: one process for all ranks of this node; or, once that is gone, each.
  integer, parameter :: dvt_model_shared = 1, dvt_model_shared_else_in_process = 2

  !> Calls, fallbacks and their reasons; the version in force; seconds in run.
  type, bind(C) :: dvt_model_statistics
    integer(c_int64_t) :: calls = 0, fallbacks = 0, out_of_range = 0, non_finite = 0
    integer(c_int64_t) :: version = 0, taken = 0, refused = 0
    real(c_double) :: seconds = 0
  end type dvt_model_statistics

  type, bind(C) :: options_c
    type(c_ptr) :: device = c_null_ptr
    integer(c_int32_t) :: threads = 0
    integer(c_int32_t) :: shared = 0
    real(c_double) :: timeout = 0
    real(c_double) :: gather = 0
  end type options_c

  type :: dvt_model
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: load => model_load
    procedure :: run => model_run
    procedure :: guard => model_guard
    procedure :: follow => model_follow
    procedure :: refresh => model_refresh
    procedure :: statistics => model_statistics
    procedure :: close => model_close
  end type dvt_model

  interface
    function c_model_load(path, options, model) result(status) bind(C, name="dvt_model_load")
      import :: c_char, c_int, c_ptr, options_c
      character(kind=c_char), intent(in) :: path(*)
      type(options_c), intent(in) :: options
      type(c_ptr), intent(inout) :: model
      integer(c_int) :: status
    end function c_model_load
    function c_model_close(model) result(status) bind(C, name="dvt_model_close")
      import :: c_int, c_ptr
      type(c_ptr), value :: model
      integer(c_int) :: status
    end function c_model_close
    function c_run(model, inputs, input_count, outputs, output_count) result(status) &
      bind(C, name="dvtf_run")
      import :: c_int, c_ptr, described
      type(c_ptr), value :: model
      type(described), intent(inout), target :: inputs(*), outputs(*)
      integer(c_int), value :: input_count, output_count
      integer(c_int) :: status
    end function c_run
    function c_model_guard(model, lower, upper, count, axis) result(status) &
      bind(C, name="dvt_model_guard")
      import :: c_double, c_int, c_ptr
      type(c_ptr), value :: model
      real(c_double), intent(in) :: lower(*), upper(*)
      integer(c_int), value :: count, axis
      integer(c_int) :: status
    end function c_model_guard
    function c_model_follow(model, store, name) result(status) bind(C, name="dvt_model_follow")
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: model, store
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: status
    end function c_model_follow
    function c_model_refresh(model, taken) result(status) bind(C, name="dvt_model_refresh")
      import :: c_int, c_ptr
      type(c_ptr), value :: model
      integer(c_int), intent(inout) :: taken
      integer(c_int) :: status
    end function c_model_refresh
    function c_model_statistics(model, numbers) result(status) &
      bind(C, name="dvt_model_get_statistics")
      import :: c_int, c_ptr, dvt_model_statistics
      type(c_ptr), value :: model
      type(dvt_model_statistics), intent(inout) :: numbers
      integer(c_int) :: status
    end function c_model_statistics
  end interface

contains

  !> Loads what dovetail.export_model wrote; it is compiled for this machine the first time.
  !> `device`: "cpu", "cuda", "cuda:1", "xpu"; by default a GPU where torch can use one. `threads`:
  !> the most that a call may use. `timeout`: seconds that compiling may take. `shared`: by default
  !> this process computes; dvt_model_shared: one process for all ranks of this node, and calls give
  !> dvt_lost once it is gone; dvt_model_shared_else_in_process: this process computes then.
  !> `gather`: seconds that a shared call may wait for those of other ranks, to be one with them.
  subroutine model_load(self, path, device, threads, timeout, shared, gather, stat, errmsg)
    class(dvt_model), intent(inout) :: self
    character(*), intent(in) :: path
    character(*), intent(in), optional :: device
    integer, intent(in), optional :: threads
    real(c_double), intent(in), optional :: timeout, gather
    integer, intent(in), optional :: shared
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(options_c) :: options
    character(kind=c_char), target :: device_c(16)
    integer(c_int) :: ignored

    ignored = c_model_close(self%handle)
    self%handle = c_null_ptr
    if (present(device)) then
      call mark(device_c, device(:min(len(device), size(device_c) - 1)))
      options%device = c_loc(device_c)
    end if
    if (present(threads)) options%threads = int(threads, c_int32_t)
    if (present(timeout)) options%timeout = timeout
    if (present(shared)) options%shared = int(shared, c_int32_t)
    if (present(gather)) options%gather = gather
    call settle(c_model_load(in_c(path), options, self%handle), stat, errmsg)
  end subroutine model_load

  !> Calls the model, and whether it answered: .false. if the guard does not trust it (`stat` is
  !> dvt_fall_back) and the physics is to answer, or if the call failed. Arrays are taken with their
  !> axes reversed: x(8, n) is the (n, 8) of the module. They have no gaps. Inputs are not copied.
  function model_run(self, input, output, input2, output2, input3, output3, input4, output4, &
    stat, errmsg) result(answered)
    class(dvt_model), intent(in) :: self
    type(*), intent(in) :: input(..)
    type(*), intent(inout) :: output(..)
    type(*), intent(in), optional :: input2(..), input3(..), input4(..)
    type(*), intent(inout), optional :: output2(..), output3(..), output4(..)
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: answered
    type(described), target :: inputs(4), outputs(4)
    integer(c_int) :: status, input_count, output_count

    input_count = 0
    output_count = 0
    status = dvt_ok
    call add(inputs, input_count, 'input', input)
    call add(inputs, input_count, 'input2', input2)
    call add(inputs, input_count, 'input3', input3)
    call add(inputs, input_count, 'input4', input4)
    call add(outputs, output_count, 'output', output)
    call add(outputs, output_count, 'output2', output2)
    call add(outputs, output_count, 'output3', output3)
    call add(outputs, output_count, 'output4', output4)
    if (status >= 0) status = c_run(self%handle, inputs, input_count, outputs, output_count)
    answered = status == dvt_ok
    call settle(status, stat, errmsg)

  contains

    subroutine add(arrays, count, name, array)
      type(described), intent(inout), target :: arrays(:)
      integer(c_int), intent(inout) :: count
      character(*), intent(in) :: name
      type(*), intent(in), optional :: array(..)
      if (status < 0 .or. .not. present(array)) return
      count = count + 1
      status = c_describe(arrays(count), in_c(name), array)
      arrays(count)%array%name = c_null_ptr
    end subroutine add

  end function model_run

  !> From now on, trust the model only where each channel of the first input lies within its bounds
  !> and where all outputs are finite. Channels are counted along `axis` of the module's input, by
  !> default the last: the first of the Fortran array. No bounds: only outputs are looked at.
  subroutine model_guard(self, lower, upper, axis, stat, errmsg)
    class(dvt_model), intent(in) :: self
    real(c_double), intent(in) :: lower(:), upper(:)
    integer, intent(in), optional :: axis
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    integer(c_int) :: along, count
    along = -1
    if (present(axis)) along = int(axis, c_int)
    count = int(min(size(lower), size(upper)), c_int)
    call settle(c_model_guard(self%handle, lower, upper, count, along), stat, errmsg)
  end subroutine model_guard

  !> Follows the weights that are published in a store under a name; the store may be closed then.
  subroutine model_follow(self, store, name, stat, errmsg)
    class(dvt_model), intent(in) :: self
    type(dvt_store), intent(in) :: store
    character(*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_model_follow(self%handle, store%handle, in_c(name)), stat, errmsg)
  end subroutine model_follow

  !> Between steps: takes a newer version, whole or not at all, and whether there was one.
  function model_refresh(self, stat, errmsg) result(taken)
    class(dvt_model), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    logical :: taken
    integer(c_int) :: answer
    answer = 0
    call settle(c_model_refresh(self%handle, answer), stat, errmsg)
    taken = answer /= 0
  end function model_refresh

  function model_statistics(self, stat, errmsg) result(numbers)
    class(dvt_model), intent(in) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    type(dvt_model_statistics) :: numbers
    call settle(c_model_statistics(self%handle, numbers), stat, errmsg)
  end function model_statistics

  subroutine model_close(self, stat, errmsg)
    class(dvt_model), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(*), intent(inout), optional :: errmsg
    call settle(c_model_close(self%handle), stat, errmsg)
    self%handle = c_null_ptr
  end subroutine model_close

end module dovetail_models
