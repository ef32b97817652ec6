"""One generated kernel for models that are not of the proven form: spiking neurons, leaky rates, error neurons."""
