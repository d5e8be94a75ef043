"""What happened to applications and promotions, told to who asked for it (`Notification`)."""
