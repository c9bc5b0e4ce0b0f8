"""Latent diffusion and its ControlNets, one network after the other."""
