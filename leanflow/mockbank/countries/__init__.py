"""What makes a country recognisable: its banks, people, shops and bills. A new country is a module here."""
