"""Plain types that every room shares: budgets, groups, plans, results, the registry and the errors."""
