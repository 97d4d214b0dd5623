module scepkit.example/goverify

go 1.19
