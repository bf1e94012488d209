package domain

// unsubscribeFile has the blocks of the page at which the link of a mail ends.
const unsubscribeFile = "unsubscribe"

// UnsubscribePage are the texts of the page at which the link of a mail ends. All are plain text. Without a Button there is nothing
// to be done.
type UnsubscribePage struct {
	Locale                       Locale
	Title, Message, Hint, Button string
}

// RenderUnsubscribe makes the page about a kind of mails, which are on or off.
func RenderUnsubscribe(k Kind, locale Locale, off bool) (UnsubscribePage, error) {
	example, err := Render(k, locale, Data{})
	if err != nil {
		return UnsubscribePage{}, err
	}
	values := struct{ Example string }{example.Title}
	if off {
		return renderUnsubscribe(locale, values, "off-title", "off", "hint", "")
	}
	return renderUnsubscribe(locale, values, "ask-title", "ask", "hint", "button")
}

// RenderInvalidUnsubscribe makes the page for a link that is not valid.
func RenderInvalidUnsubscribe(locale Locale) (UnsubscribePage, error) {
	return renderUnsubscribe(locale, nil, "invalid-title", "invalid", "", "")
}

// renderUnsubscribe makes a page of the blocks with these names. A text without a name is empty.
func renderUnsubscribe(locale Locale, values any, title, message, hint, button string) (UnsubscribePage, error) {
	w, err := wordsOf(locale)
	page := UnsubscribePage{Locale: w.locale}
	for _, part := range []struct {
		to    *string
		block string
	}{{&page.Title, title}, {&page.Message, message}, {&page.Hint, hint}, {&page.Button, button}} {
		if err == nil && part.block != "" {
			*part.to, err = w.line(unsubscribeFile, part.block, values)
		}
	}
	return page, err
}
