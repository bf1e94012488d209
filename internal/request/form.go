package request

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"caravan/internal/problem"
)

// formMax is the largest form in bytes.
const formMax = 16 << 10

// Form reads the body of an HTML form, in either of its encodings: application/x-www-form-urlencoded or multipart/form-data. The
// result has a value for each of the given fields. All are required, and a form with another field, with a file, or with a
// field twice is refused, as Decode does. Errors are problems.
func Form(r *http.Request, fields ...string) (map[string]string, error) {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	read := map[string]func(body []byte) (url.Values, error){
		"application/x-www-form-urlencoded": encodedForm,
		"multipart/form-data":               func(body []byte) (url.Values, error) { return multipartForm(body, parameters["boundary"]) },
	}[mediaType]
	if err != nil || read == nil {
		return nil, unsupportedForm()
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, formMax))
	if err != nil {
		return nil, unreadable(err)
	}
	values, err := read(body)
	if err != nil {
		return nil, problem.Malformed("The body is not a valid form.")
	}
	return exactly(values, fields)
}

// exactly returns the only value of each field, and names every field that is missing, repeated or unknown.
func exactly(values url.Values, fields []string) (map[string]string, error) {
	var wrong []problem.FieldError
	form := make(map[string]string, len(fields))
	for _, name := range fields {
		switch of := values[name]; len(of) {
		case 0:
			wrong = append(wrong, problem.FieldError{Field: name, Code: "required", Message: "is required"})
		case 1:
			form[name] = of[0]
		default:
			wrong = append(wrong, problem.FieldError{Field: name, Code: "duplicate", Message: "appears more than once"})
		}
	}
	for name := range values {
		if !slices.Contains(fields, name) {
			wrong = append(wrong, problem.FieldError{Field: shorten(name), Code: "unknown", Message: "is not a field of this form"})
		}
	}
	return form, invalid(wrong)
}

func encodedForm(body []byte) (url.Values, error) { return url.ParseQuery(string(body)) }

// multipartForm reads the parts, which are all within the limit of the body.
func multipartForm(body []byte, boundary string) (url.Values, error) {
	values := make(url.Values)
	parts := multipart.NewReader(strings.NewReader(string(body)), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		if part.FormName() == "" || part.FileName() != "" {
			return nil, errors.New("a part is not a field")
		}
		values.Add(part.FormName(), string(value))
	}
}

func unsupportedForm() error {
	return problem.New(http.StatusUnsupportedMediaType, "unsupported-media-type", "The media type is not supported",
		"Send the form as application/x-www-form-urlencoded or multipart/form-data.")
}
