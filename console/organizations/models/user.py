from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person who signs in. `is_staff` is the role platform: all organizations, and the admin."""
