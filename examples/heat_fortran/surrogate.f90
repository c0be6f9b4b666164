! A network in the place of the physics: it takes each cell with its four neighbours, and gives how
! much the heat of the cell changes. It is trained while the solver runs (trainer.py), and its
! weights are taken over between steps.
module surrogate
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08
  use dovetail
  use plate, only: part
  implicit none
  private

  public :: load, trained, guess, account, forget

  type(dvt_model) :: network

contains

  ! What trainer.py exported, and the store in which it publishes what it has learned since.
  subroutine load(path)
    character(*), intent(in) :: path
    type(dvt_store) :: models
    call network%load(path, device='cpu', threads=1)
    call models%open('models')
    call network%follow(models, 'plate')
    call models%close()
  end subroutine load

  ! Between steps: takes newer weights if there are any; whether every rank has some by now. Ranks
  ! may be a version apart for a step.
  function trained(mine)
    type(part), intent(in) :: mine
    type(dvt_model_statistics) :: numbers
    integer :: version
    logical :: trained, newer
    newer = network%refresh()
    numbers = network%statistics()
    version = int(numbers%version)
    call MPI_Allreduce(MPI_IN_PLACE, version, 1, MPI_INTEGER, MPI_MIN, mine%comm)
    trained = version > 0
  end function trained

  ! As `advance` of plate.f90, whose place it takes; .false. where the guard does not trust the
  ! network, because cells are hotter or colder than any it was trained on.
  function guess(mine, u, change) result(answered)
    type(part), intent(in) :: mine
    real(real64), intent(in) :: u(0:, 0:)
    real(real64), intent(out) :: change(:, :)
    real(real64) :: cells(5, mine%nx*mine%ny), answers(1, mine%nx*mine%ny)
    logical :: answered

    associate (nx => mine%nx, ny => mine%ny)
      cells(1, :) = reshape(u(1:nx, 1:ny), [nx*ny])
      cells(2, :) = reshape(u(0:nx - 1, 1:ny), [nx*ny])
      cells(3, :) = reshape(u(2:nx + 1, 1:ny), [nx*ny])
      cells(4, :) = reshape(u(1:nx, 0:ny - 1), [nx*ny])
      cells(5, :) = reshape(u(1:nx, 2:ny + 1), [nx*ny])
    end associate
    answered = network%run(cells, answers)
    if (answered) change = reshape(answers, shape(change))
  end function guess

  ! How often the network answered on any rank, and how often the guard did not let it.
  subroutine account(mine, answers, fallbacks)
    type(part), intent(in) :: mine
    integer, intent(out) :: answers, fallbacks
    type(dvt_model_statistics) :: numbers
    integer :: counts(2)
    numbers = network%statistics()
    counts = int([numbers%calls - numbers%fallbacks, numbers%fallbacks])
    call MPI_Allreduce(MPI_IN_PLACE, counts, 2, MPI_INTEGER, MPI_SUM, mine%comm)
    answers = counts(1)
    fallbacks = counts(2)
  end subroutine account

  subroutine forget()
    call network%close()
  end subroutine forget

end module surrogate
