package trace

import (
	"strings"
	"testing"

	"sidecast/relay/access"
)

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		comment, a, b string
		want          Likeness
	}{
		{"the same", "chat:1", "chat:1", Unlike},
		{"a blank at the end", "chat:1 ", "chat:1", LikeBlank},
		{"a blank, of a short name", "a ", "a", LikeBlank},
		{"a line break", "chat:1\n", "chat:1", LikeBlank},
		{"a capital letter", "Chat:1", "chat:1", LikeCase},
		{"all capitals", "CHAT:ROOM", "chat:room", LikeCase},
		{"a dot for a colon", "chat.1", "chat:1", LikeSeparator},
		{"no separator", "chat1", "chat:1", LikeSeparator},
		{"two separators", "chat::1", "chat:1", LikeSeparator},
		{"a separator at the end", "chat:1:", "chat:1", LikeSeparator},
		{"dots for all colons", "a.bc.d", "a:bc:d", LikeSeparator},
		{"numbers that a separator divides elsewhere", "chat:1:23", "chat:12:3", Unlike},
		{"a prefix of the application", "app:chat:1", "chat:1", LikePrefix},
		{"a prefix of Laravel", "laravel_database_chat", "chat", LikePrefix},
		{"a prefix of the Pusher protocol", "private-chat", "chat", LikePrefix},
		{"a name that ends alike", "livechat", "chat", Unlike},
		{"a path that ends in the same number", "chat:1000", "1000", Unlike},
		{"a letter is missing", "cat:1", "chat:1", LikeCharacter},
		{"a letter is added", "chats:1", "chat:1", LikeCharacter},
		{"another letter", "chet:1", "chat:1", LikeCharacter},
		{"two swapped letters", "caht:1", "chat:1", LikeCharacter},
		{"another letter beyond ASCII", "cafe:1", "café:1", LikeCharacter},
		{"letters that share a byte", "è:room", "é:room", LikeCharacter},
		{"two letters", "cit:1", "chat:1", Unlike},
		{"another number", "chat:1", "chat:2", Unlike},
		{"a longer number", "chat:1", "chat:12", Unlike},
		{"a number in the middle", "chat:7:a", "chat:17:a", Unlike},
		{"a number for a letter", "chat:l", "chat:1", LikeCharacter},
		{"short names", "ab", "ac", Unlike},
		{"an empty name", "", "a", Unlike},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := Compare(pair[0], pair[1]); got != tt.want {
				t.Errorf("%s: %q and %q are %q, want %q", tt.comment, pair[0], pair[1], got, tt.want)
			}
		}
	}
}

func TestNearestPattern(t *testing.T) {
	for _, tt := range []struct {
		comment, patterns, name string
		how                     Likeness
		pattern, want           string
	}{
		{"a letter too many", "news,chat:*", "chats:1", LikeCharacter, "chat:*", "chat:1"},
		{"another separator", "chat:*", "chat.1", LikeSeparator, "chat:*", "chat:1"},
		{"no separator", "chat:*", "chat", LikeSeparator, "chat:*", "chat:"},
		{"capital letters", "chat:*", "Chat:Ada", LikeCase, "chat:*", "chat:ada"},
		{"capital letters of the pattern", "Chat:*", "chat:Ada", LikeCase, "Chat:*", "Chat:Ada"},
		{"a blank", "chat:1", "chat:1 ", LikeBlank, "chat:1", "chat:1"},
		{"a prefix", "chat:*", "app:chat:1", LikePrefix, "chat:*", "chat:1"},
		{"a prefix of Laravel", "chat:*", "laravel_database_chat:1", LikePrefix, "chat:*", "chat:1"},
		{"the most certain one", "chats:*,Chat:*", "chat:1", LikeCase, "Chat:*", "Chat:1"},
		{"nothing is near", "chat:*,order:*", "news", Unlike, "", ""},
		{"a pattern that fixes little", "a*,?b", "xb1", Unlike, "", ""},
		{"no patterns", "", "chat", Unlike, "", ""},
	} {
		patterns, err := access.ParsePatterns(strings.FieldsFunc(tt.patterns, func(r rune) bool { return r == ',' }))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := nearestPattern(patterns, tt.name)
		if got.How != tt.how || got.Pattern != tt.pattern || got.Name != tt.want || ok != (tt.how != Unlike) {
			t.Errorf("%s: %+v", tt.comment, got)
		}
	}
}

// Two names differ in the same way in both directions, and a name is not like
// itself.
func FuzzCompare(f *testing.F) {
	for _, seed := range [][2]string{{"chat:1", "chat.1"}, {"é", "è"}, {"a1:2", "a:12"}, {"", " "}, {"laravel_database_a", "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 1000 {
			return
		}
		got := Compare(a, b)
		if got != Compare(b, a) || got != Unlike && a == b {
			t.Errorf("%q, %q: %q, %q", a, b, got, Compare(b, a))
		}
	})
}

// A pattern matches the name that it is said to match, and not the other one.
func FuzzNearestPattern(f *testing.F) {
	for _, seed := range [][2]string{{"chat:*", "Chats:1"}, {"[abc]d*", "x:ad"}, {`ab\*`, "AB*"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, source, name string) {
		p, err := access.ParsePattern(source)
		if err != nil || p.Match(name) || len(name) > access.MaxChannelName {
			return
		}
		miss, ok := missOf(p, name)
		if ok && !p.Match(miss.Name) && !strings.Contains(source, "[") {
			t.Errorf("%q, %q: %+v", source, name, miss)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	x, y := strings.Repeat("ab:", 60)+"x", strings.Repeat("ab:", 60)+"y"
	for b.Loop() {
		Compare(x, y)
	}
}
