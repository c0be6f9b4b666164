import no_such_module

main = no_such_module.main
