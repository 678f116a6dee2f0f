"""A forward and a backward function as people write them: their source, and how one is called with the other's results.

- gradient_names: which value `dmu`, `grad_mu` or `self.grads["W"]` is the gradient of
- sites, instrument: the statements that write a value, and a copy of the function that reports each of them
- pair: a forward and a backward function, or the methods of an object
- found, helpers: pairs in a module; pairs whose functions a pair calls
- results, adapted: which gradient is which; a pair or a layer object as a function and its gradient
"""
