"""How much is needed and how much there is: sizes advised by use, and whether one more fits."""
