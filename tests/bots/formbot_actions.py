"""The form validation of Rasa's formbot example, as the recorded traces imply it; the rest of that bot is data."""

from rasa_sdk.forms import FormValidationAction

CUISINES = {"caribbean", "chinese", "french", "greek", "indian", "italian", "mexican"}


class ValidateRestaurantForm(FormValidationAction):
    def name(self):
        return "validate_restaurant_form"

    def validate_cuisine(self, value, dispatcher, tracker, domain):
        if str(value).lower() in CUISINES:
            return {"cuisine": value}
        dispatcher.utter_message(response="utter_wrong_cuisine")
        return {"cuisine": None}

    def validate_num_people(self, value, dispatcher, tracker, domain):
        try:
            is_valid = int(value) > 0
        except (TypeError, ValueError):
            is_valid = False
        if is_valid:
            return {"num_people": value}
        dispatcher.utter_message(response="utter_wrong_num_people")
        return {"num_people": None}

    def validate_outdoor_seating(self, value, dispatcher, tracker, domain):
        if not isinstance(value, str):
            return {"outdoor_seating": value}
        if "out" in value:
            return {"outdoor_seating": True}
        if "in" in value:
            return {"outdoor_seating": False}
        dispatcher.utter_message(response="utter_wrong_outdoor_seating")
        return {"outdoor_seating": None}
