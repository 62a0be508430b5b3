"""The custom actions of Rasa's concertbot example, as the recorded traces imply them."""

from rasa_sdk import Action
from rasa_sdk.events import SlotSet

CONCERTS = [{"artist": "Foo Fighters", "reviews": 4.5}, {"artist": "Katy Perry", "reviews": 5.0}]
VENUES = [{"name": "Big Arena", "reviews": 4.5}, {"name": "Rock Cellar", "reviews": 5.0}]


class SearchConcerts(Action):
    def name(self):
        return "action_search_concerts"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=", ".join(concert["artist"] for concert in CONCERTS))
        return [SlotSet("concerts", CONCERTS)]


class SearchVenues(Action):
    def name(self):
        return "action_search_venues"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="here are some venues I found")
        dispatcher.utter_message(text=", ".join(venue["name"] for venue in VENUES))
        return [SlotSet("venues", VENUES)]


class ShowConcertReviews(Action):
    def name(self):
        return "action_show_concert_reviews"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"concerts from slots: {tracker.get_slot('concerts')}")
        return []


class ShowVenueReviews(Action):
    def name(self):
        return "action_show_venue_reviews"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"venues from slots: {tracker.get_slot('venues')}")
        return []


class SetMusicPreference(Action):
    def name(self):
        return "action_set_music_preference"

    def run(self, dispatcher, tracker, domain):
        return [SlotSet("likes_music", tracker.latest_message["intent"]["name"] == "affirm")]
