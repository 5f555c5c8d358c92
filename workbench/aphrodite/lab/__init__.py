"""What a researcher does with generations: compare two, grow a tree of branches, draw what was measured."""
