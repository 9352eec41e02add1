"""A susceptible-infected-recovered model with one Euler step per day."""


def simulate(population, infected, beta, gamma, days):
    """Return the number of infected people on each day."""
    s, i, r = population - infected, float(infected), 0.0
    curve = []
    for _ in range(days):
        new = beta * s * i / population
        gone = gamma * i
        s, i, r = s - new, i + new - gone, r + gone
        curve.append(i)
    return curve
