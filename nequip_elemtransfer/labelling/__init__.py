"""Labels of structures by any ASE calculator, in processes of its own: a teacher's labels."""
