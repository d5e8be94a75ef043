{ name: 'jsonnet-guestbook' }
