//! Go's `Sprintf`, by `fmt/print.go` and `fmt/format.go`.

use super::compare;

#[test]
fn what_is_within_values_is_printed_as_go_prints_it() {
    compare(&[
        (
            r#"{{ printf "%5v|%-7v|%05d" (list nil 1) (list nil) (list nil true) }}"#,
            "[<nil>     1]|[<nil>]|[<nil> %!d(bool=0true)]",
        ),
        (r#"{{ printf "%5v|%d" nil nil }}"#, "<nil>|%!d(<nil>)"),
        (
            r#"{{ printf "%7v|%7d|" (dict "a" nil) (dict "a" 1) }}"#,
            "map[      a:<nil>]|map[%!d(string=      a):      1]|",
        ),
        (
            r#"{{ printf "%U|%O|%E|%z" (list 65 "a") (list 8) (list 1.5) (list 1) }}"#,
            "[U+0041 %!U(string=a)]|[0o10]|[1.500000E+00]|[%!z(int=1)]",
        ),
        (
            r#"{{ printf "%#v|%#v|%#v" (list) (dict "a" nil) (list 1 "x" 1.0) }}"#,
            r#"[]interface {}{}|map[string]interface {}{"a":interface {}(nil)}|[]interface {}{1, "x", 1}"#,
        ),
        (r#"{{ printf "%#5v|%#5v|%#5v" 3 "a" true }}"#, r#"    3|  "a"| true"#),
    ]);
}

#[test]
fn zeros_fill_the_fields_of_words_too() {
    compare(&[
        (r#"{{ printf "%05v|%05t|%-6t|%-06v|" true false true true }}"#, "0true|false|true  |true  |"),
        (r#"{{ printf "%05s|%05q|%05v" "a" "b" nil }}"#, r#"0000a|00"b"|<nil>"#),
    ]);
}

#[test]
fn wrong_verbs_keep_their_flags() {
    compare(&[
        (
            r#"{{ printf "%+d|%#d|%6d|%+d" 1.5 1.5 1.5 "x" }}"#,
            "%!d(float64=+1.5)|%!d(float64=1.50000)|%!d(float64=   1.5)|%!d(string=x)",
        ),
        (r#"{{ printf "%+s|%5s|%-5s|" 7 7 true }}"#, "%!s(int=+7)|%!s(int=    7)|%!s(bool=true )|"),
        (r#"{{ printf "%w|%#w|%p" "a" "a" 5 }}"#, r#"%!w(string=a)|%!w(string="a")|%!p(int=5)"#),
    ]);
}

#[test]
fn versions_and_durations_are_structs_and_numbers() {
    compare(&[
        (
            r#"{{ $v := semver "v1.2.3-a+b" }}{{ printf "%d|%v|%10s|%q|%x|%+v" $v $v $v $v $v $v }}"#,
            r#"&{1 2 3 %!d(string=a) %!d(string=b) %!d(string=v1.2.3-a+b)}|1.2.3-a+b| 1.2.3-a+b|"1.2.3-a+b"|312e322e332d612b62|1.2.3-a+b"#,
        ),
        (
            r#"{{ $v := semver "1.2.3" }}{{ printf "%#v|%z|%s|%3d" $v $v (list $v) $v }}"#,
            r#"&semver.Version{major:0x1, minor:0x2, patch:0x3, pre:"", metadata:"", original:"1.2.3"}|&{%!z(uint64=1) %!z(uint64=2) %!z(uint64=3) %!z(string=) %!z(string=) %!z(string=1.2.3)}|[1.2.3]|&{  1   2   3 %!d(string=   ) %!d(string=   ) %!d(string=1.2.3)}"#,
        ),
        (
            r#"{{ $d := (toDate "2006-01-02" "2024-01-02").Sub (toDate "2006-01-02" "2024-01-01") }}{{ printf "%d|%v|%z|%8s" $d $d $d $d }}"#,
            "86400000000000|24h0m0s|%!z(time.Duration=86400000000000)| 24h0m0s",
        ),
        (
            r#"{{ $v := semver "1.2.3" }}{{ printf "%d" .Capabilities.APIVersions | trunc 14 }}|{{ printf "%+v" .Capabilities.KubeVersion | trunc 10 }}"#,
            "[%!d(string=v1|{Version:v",
        ),
    ]);
}

#[test]
fn numbers_are_formatted_as_by_strconv() {
    compare(&[
        (
            r#"{{ printf "%#g|%#g|%#.3g|%#.0f|%#x|%#v|%#e" 1.0 123456789.0 100000.0 3.0 1.0 1.0 1.0 }}"#,
            "1.00000|1.23456789e+08|1.00e+05|3.|0x1.0000p+00|1|1.000000e+00",
        ),
        (
            r#"{{ printf "%U|%#U|%O|%#O|%#o" -1 128014 8 8 8 }}"#,
            "U+FFFFFFFFFFFFFFFF|U+1F40E '🐎'|0o10|0o010|010",
        ),
        (r#"{{ printf "%+06.1f|%06.1f|% 06.1f|%-6.1f|" 2.5 -2.5 2.5 2.5 }}"#, "+002.5|-002.5| 002.5|2.5   |"),
        (
            r#"{{ printf "%#x|%# x|% X|%#X|%5x|" "hi" "hi" "hi" "hi" "" }}"#,
            "0x6869|0x68 0x69|68 69|0X6869|     |",
        ),
        (r#"{{ printf "%.2T|%5T" "s" 1 }}"#, "st|  int"),
    ]);
}

#[test]
fn formats_are_read_as_go_reads_them() {
    compare(&[
        (
            r#"{{ printf "%[]d|%[3]|%[9]d|%[2]d %d" 1 2 }}"#,
            "%!d(BADINDEX)|%!|(BADINDEX)%!d(BADINDEX)|2 %!d(MISSING)",
        ),
        (r#"{{ printf "%[1]5d|%[2]*[1]d|%.|%5.3q|" 1 6 "é" }}"#, r#"%!d(BADINDEX)|     1|%!|(int=6)  "é"|"#),
        (r#"{{ printf "%99999999d|" 1 }}"#, "%!(NOVERB)%!(EXTRA int=1)"),
        (r#"{{ printf "%*d|%.*d" "a" 1 -1 2 }}"#, "%!(BADWIDTH)1|%!(BADPREC)2"),
        (
            r#"{{ printf "%d %" 1 }}|{{ printf "%*d" }}|{{ printf "%[1" 1 }}"#,
            "1 %!(NOVERB)|%!(BADWIDTH)%!d(MISSING)|%!(NOVERB)",
        ),
    ]);
}

/// `%#q` writes no raw string where Go does not, and widths count bytes that are no characters.
#[test]
fn strings_that_are_no_text_are_measured_as_go_measures_them() {
    compare(&[
        (r#"{{ printf "%#q|%#q|%#q" "a" "a\ufeff" "a\tb" }}"#, "`a`|\"a\\ufeff\"|`a\tb`"),
        (
            r#"{{ printf "%6q|%.1q|%.2x" (b64dec "4oI=") (b64dec "4oI=") (b64dec "4oI=") }}"#,
            r#""\xe2\x82"|"\xe2"|e282"#,
        ),
        (r#"{{ printf "%5s" (b64dec "4oI=") | b64enc }}"#, "ICAg4oI="),
    ]);
}
