"""One benchmark a file: ``measure(arguments) -> {key: figure}``."""
