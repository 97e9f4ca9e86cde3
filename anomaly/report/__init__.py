"""What people read: tables and text, pictures, the page for a browser."""
