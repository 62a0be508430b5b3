"""The front desk's custom actions: emergencies, departments, appointment requests."""
